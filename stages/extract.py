"""extract: packed pictures → a feature vector each, one HDF5 file per split."""

from pathlib import Path

import numpy as np

from stages import cli, extractors, log
from stages.data import store
from stages.data.manifest import SPLITS
from stages.extractors import Extract, ExtractorParams
from stages.files import replacing
from stages.params import PACKED

_BATCH = 64


@cli.stage(params="extractors.{name}")
def extract(name: str, *, params: ExtractorParams, packed: Path, features: Path) -> None:
    """Run one extractor over every split.

    Writes train.h5, val.h5 and test.h5 with `features` float32 (N, D), and labels, ids and order as packed.
    """
    with store.Reader(packed / "train.h5") as train:
        run = extractors.prepare(params, train.shape[1:])
    with replacing(features) as folder:
        folder.mkdir()
        for split in SPLITS:
            with store.Reader(packed / f"{split}.h5") as pictures:
                width = _extract_split(folder / f"{split}.h5", pictures, run, name, params)
            log.event("extracted", split=split, features=width)


def _extract_split(
    path: Path, pictures: store.Reader, run: Extract, name: str, params: ExtractorParams
) -> int:
    """Write one split; returns the number of features per picture."""
    width = int(run(pictures.read(0, 1)).shape[1])
    provenance = {**pictures.provenance, "input": PACKED, "extractor": {"name": name, **params.model_dump()}}
    shape = (len(pictures), width)
    with (
        store.create(path, "features", shape, np.float32, ids=pictures.ids, provenance=provenance) as out,
        log.Progress(f"extracting {path.stem}", total=len(pictures), unit="picture") as progress,
    ):
        start = 0
        for batch in pictures.batches(_BATCH):
            out.write(start, run(batch))
            start += len(batch)
            progress.advance(len(batch))
        out.columns["labels"] = pictures.column("labels")
    return width


if __name__ == "__main__":
    cli.main(extract)
