"""resize: every accepted image → one uint8 array of the same size, with its exact channel sums."""

from functools import partial
from pathlib import Path

import numpy as np

from stages import cli
from stages.common import executor as executors
from stages.common import log
from stages.common.errors import ImageError
from stages.data import image_results, store
from stages.data.blobs import ImageReader, changed
from stages.data.image_results import Resized, ResizedImages
from stages.data.manifest import ROWS_TOGETHER, Manifest, Row
from stages.params import Resize


@cli.command(params="resize", source="ingest.source.path")
def resize(params: Resize, *, manifest: Path, source: Path, blob: Path, resized: Path) -> None:
    """Decode and resize each image of the manifest, in its order.

    Writes an HDF5 store of `images` (N, H, W, C) uint8 with the columns `sums` and `squares`, int64 (N, C):
    integers, so that means over any subset are exact and need no second look at the pixels. Images that
    any run resized the same way come from the store of image results; the result is the same to the byte.
    Raises SourceError when an image is gone or no longer the one that ingest saw.
    """
    table = Manifest.read(manifest)
    sums, squares = np.zeros((2, len(table), params.shape[2]), np.int64)
    provenance = {"resize": params.model_dump()}

    view, shape, ids = params.view, (len(table), *params.shape), table.strings("id")
    with (
        ImageReader(source, blob) as images,
        image_results.resized_images(view) as stored,
        executors.opened(image_results.examined_follow_from) as executor,
        store.create(resized, "images", shape, np.uint8, ids=ids, provenance=provenance) as out,
        log.Progress("resizing", total=len(table), unit="image") as progress,
    ):

        def look_up(row: Row) -> tuple[tuple[Row, Resized | None], tuple[object, ...] | None]:
            if (image := stored.get(row.sha256)) is not None:
                return (row, image), None
            return (row, None), (images.read_unchanged(row), row.height, row.width, row.plain)

        def work(start: int) -> tuple[int, int]:
            rows = table.rows(start, ROWS_TOGETHER)
            block = np.empty((len(rows), *params.shape), np.uint8)
            new = 0
            answers = executor.each(partial(image_results.resize, view=view), map(look_up, rows))
            for place, ((row, image), answer) in enumerate(answers):
                new += image is None
                sized = image or _added(stored, row, answer)
                block[place], sums[start + place], squares[start + place] = sized
            out.write(start, block)
            return len(block), new

        decoded = 0
        for done, new in executor.mapped(work, range(0, len(table), ROWS_TOGETHER)):
            decoded += new
            progress.advance(done)
        out.columns.update(sums=sums, squares=squares)
    log.event("resized_images", images=len(table), decoded=decoded, to="x".join(map(str, params.shape)))


def _added(stored: ResizedImages, row: Row, answer: Resized | ImageError | None) -> Resized:
    if not isinstance(answer, Resized):
        raise changed(row, answer)
    stored.add(row.sha256, answer)
    return answer


if __name__ == "__main__":
    cli.main(resize)
