"""resize: every accepted image → one uint8 array of the same size, with its exact channel sums."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages import cli
from stages.common import log
from stages.common.errors import ImageError, SourceError
from stages.common.parallel import mapped
from stages.data import image_results, store
from stages.data.blobs import ImageReader
from stages.data.image_results import Resized
from stages.data.manifest import Manifest, Row
from stages.data.sizing import View
from stages.params import Resize

_IMAGES_PER_TASK = 16


@cli.command(params="resize", source="ingest.source.path")
def resize(params: Resize, *, manifest: Path, source: Path, blob: Path, resized: Path) -> None:
    """Decode and resize each image of the manifest, in its order.

    Writes an HDF5 store of `images` (N, H, W, C) uint8 with the columns `sums` and `squares`, int64 (N, C):
    integers, so that means over any subset are exact and need no second look at the pixels. Images that
    any run resized the same way come from the store of results; the result is the same to the byte.
    Raises SourceError when an image is gone or no longer the one that ingest saw.
    """
    table = Manifest.read(manifest)
    sums, squares = np.zeros((2, len(table), params.shape[2]), np.int64)
    provenance = {"resize": params.model_dump()}

    view, shape, ids = params.view, (len(table), *params.shape), table.strings("id")
    with (
        ImageReader(source, blob) as images,
        image_results.resized_images(view) as stored,
        store.create(resized, "images", shape, np.uint8, ids=ids, provenance=provenance) as out,
        log.Progress("resizing", total=len(table), unit="image") as progress,
    ):

        def work(start: int) -> tuple[int, int]:
            rows = table.rows(start, _IMAGES_PER_TASK)
            block = np.empty((len(rows), *params.shape), np.uint8)
            new = 0
            for place, row in enumerate(rows):
                if (image := stored.get(row.sha256)) is None:
                    new += 1
                    image = Resized.from_pixels(_pixels(row, view, images))
                    stored.add(row.sha256, image)
                block[place], sums[start + place], squares[start + place] = image
            out.write(start, block)
            return len(block), new

        decoded = 0
        for done, new in mapped(work, range(0, len(table), _IMAGES_PER_TASK)):
            decoded += new
            progress.advance(done)
        out.columns.update(sums=sums, squares=squares)
    log.event("resized_images", images=len(table), decoded=decoded, to="x".join(map(str, params.shape)))


def _pixels(row: Row, view: View, images: ImageReader) -> NDArray[np.uint8]:
    try:
        data = images.read(row)
        if hashlib.sha256(data).hexdigest() != row.sha256:
            raise ImageError("other bytes than when it was ingested")
        return view.apply(data, row.height, row.width, plain=row.plain)
    except (OSError, ImageError) as error:
        raise SourceError(f"{row.path}: {error}; the source has changed, run ingest again") from None


if __name__ == "__main__":
    cli.main(resize)
