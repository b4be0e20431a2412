"""extract: packed images → a feature vector each, one HDF5 file per split."""

from pathlib import Path
from typing import Any

import numpy as np

from stages import cli
from stages.common import log
from stages.common.files import replace_folder_atomically
from stages.data import portions, store
from stages.data.manifest import SPLITS
from stages.models import extractors
from stages.models.protocols import Extract, ExtractorParams
from stages.params import PACKED


@cli.command(params="extractors.{name}")
def extract(name: str, *, params: ExtractorParams, packed: Path, features: Path) -> None:
    """Run one extractor over every split.

    Writes train.h5, val.h5 and test.h5 with `features` float32 (N, D), and labels, ids and order as packed.
    """
    with store.Reader(packed / "train.h5") as train:
        run = extractors.prepare(params, train.shape[1:])
    described = {"input": PACKED, "extractor": {"name": name, **params.model_dump()}}
    with replace_folder_atomically(features, [f"{split}.h5" for split in SPLITS]) as folder:
        for split in SPLITS:
            with store.Reader(packed / f"{split}.h5") as images:
                count = write_features(folder / f"{split}.h5", images, run, described)
            log.event("extracted", split=split, images=count)


def write_features(path: Path, images: store.Reader, run: Extract, described: dict[str, Any]) -> int:
    """Write one split, whose provenance is the images' and what is `described`; returns its rows."""
    width = int(run(images.read(0, 1)).shape[1])
    provenance = {**images.provenance, **described}
    shape = (len(images), width)
    with (
        store.create(path, "features", shape, np.float32, ids=images.ids, provenance=provenance) as out,
        log.Progress(f"extracting {path.stem}", total=len(images), unit="image") as progress,
    ):
        start = 0
        for rows in portions.mapped(run, images):
            out.write(start, rows)
            start += len(rows)
            progress.advance(len(rows))
        out.columns["labels"] = images.column("labels")
    return start


if __name__ == "__main__":
    cli.main(extract)
