"""pack: the resized images → one HDF5 file per split, shuffled once, complete in itself."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages import cli
from stages.common import log
from stages.common.files import digest, read_json, replace_folder_atomically
from stages.common.parallel import mapped
from stages.data import store
from stages.data.manifest import EVERY_SPLIT, Manifest, splits_among
from stages.params import Pack

_ROWS_PER_TASK = 64


@cli.command(params="pack")
def pack(params: Pack, *, manifest: Path, classes: Path, stats: Path, resized: Path, packed: Path) -> None:
    """Write train.h5, val.h5, test.h5 and, where the manifest has that split, train_val.h5 into `packed`.

    Each holds `images` uint8 (N, H, W, C), `labels` int64, `ids`, and as provenance the class names, the
    manifest's digest, the params of resize and pack, and the train split's channel statistics.
    """
    table, names = Manifest.read(manifest), read_json(classes)
    splits, label_of = table.strings("split"), table.labels(names)
    order = np.random.default_rng(params.seed).permutation(len(table))
    written = [f"{split}.h5" for split in EVERY_SPLIT]
    with store.Reader(resized) as images, replace_folder_atomically(packed, written) as folder:
        table.require(images.ids, resized)
        provenance = {
            **images.provenance,
            "classes": names,
            "manifest": digest(manifest),
            # The key of the codec stays, so that files stay the same: rows are stored as they are.
            "pack": {**params.model_dump(), "codec": "none"},
            "stats": read_json(stats),
        }
        for split in splits_among(splits.tolist()):
            numbers = order[splits[order] == split]
            target = folder / f"{split}.h5"
            about = {**provenance, "split": split}
            _pack_split(target, images, numbers, label_of, about)
            log.event("packed_images", split=split, images=len(numbers))


def _pack_split(
    path: Path,
    images: store.Reader,
    numbers: NDArray[np.int64],
    label_of: dict[str, int],
    provenance: dict[str, object],
) -> None:
    """Copy the images with these row numbers, in this order."""
    ids = images.ids[numbers]
    shape = (len(numbers), *images.shape[1:])
    with (
        store.create(path, "images", shape, np.uint8, ids=ids, provenance=provenance) as out,
        log.Progress(f"packing {path.stem}", total=len(numbers), unit="image") as progress,
    ):
        out.columns["labels"] = np.asarray([label_of[identity] for identity in ids.tolist()], np.int64)

        def work(start: int) -> int:
            rows = images.take(numbers[start : start + _ROWS_PER_TASK])
            out.write(start, rows)
            return len(rows)

        for done in mapped(work, range(0, len(numbers), _ROWS_PER_TASK)):
            progress.advance(done)


if __name__ == "__main__":
    cli.main(pack)
