"""extract: packed images → a feature vector each, one HDF5 file per split."""

import hashlib
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import cli
from stages.common import executor as executors
from stages.common import fingerprint, log
from stages.common.executor import Executor
from stages.common.files import replace_folder_atomically
from stages.data import portions, results_store, store
from stages.data.manifest import EVERY_SPLIT, splits_among
from stages.data.results_store import Results
from stages.models import extractors
from stages.models.feature_identity import follows_from
from stages.models.protocols import Extract, ExtractorParams
from stages.params import PACKED


@cli.command(params="extractors.{name}")
def extract(name: str, *, params: ExtractorParams, packed: Path, features: Path) -> None:
    """Run one extractor over every split.

    Writes a file for each packed one (train.h5, val.h5, test.h5, perhaps train_val.h5) with `features`
    float32 (N, D), and labels, ids and order as packed. Features of pixels that any run has seen come from
    the store of image results; without a new image, no network is loaded. Batches always have the same number
    of rows, so that a feature does not depend on the others.
    """
    with store.Reader(packed / "train.h5") as train:
        shape = train.shape[1:]
    described = {"input": PACKED, "extractor": {"name": name, **params.model_dump()}}
    identity = follows_from(params, shape)
    key = fingerprint.digest(identity)
    with (
        results_store.opened("features", identity) as results,
        executors.opened(follows_from, params, shape) as executor,
        replace_folder_atomically(features, [f"{split}.h5" for split in EVERY_SPLIT]) as folder,
    ):
        for split in splits_among([path.stem for path in packed.iterdir()]):
            with store.Reader(packed / f"{split}.h5") as images:
                run = partial(executor.call, extractors.features, key=key, params=params, shape=shape)
                work = Extraction(images, run, results, executor)
                work.write(folder / f"{split}.h5", described)
                log.event("extracted_features", split=split, images=len(images), computed=len(work.missing))


class Extraction:
    """The features of one packed file: stored ones, and new ones in batches of one size."""

    def __init__(
        self, images: store.Reader, extract: Extract, results: Results | None, executor: Executor
    ) -> None:
        """Without `results`, all features are computed."""
        self._images, self._extract, self._results, self._executor = images, extract, results, executor
        self._count = portions.size(images.shape)
        self.missing: list[int] = []

    def write(self, path: Path, described: dict[str, Any]) -> None:
        """Write the file, whose provenance is the images' and what is `described`."""
        images = self._images
        provenance = {**images.provenance, **described}
        shape = (len(images), self._width)
        with (
            store.create(path, "features", shape, np.float32, ids=images.ids, provenance=provenance) as out,
            log.Progress(f"extracting {path.stem}", total=len(images), unit="image") as progress,
        ):
            self.missing = []
            for number in range(len(images)):
                row = self._stored(number)
                if row is None:
                    self.missing.append(number)
                else:
                    out.write(number, row[None])
            progress.advance(len(images) - len(self.missing))
            starts = range(0, len(self.missing), self._count)
            for start, rows in zip(
                starts, self._executor.mapped(self._computed, starts, ahead=2), strict=True
            ):
                numbers = self.missing[start : start + self._count]
                for number, row in zip(numbers, rows, strict=True):
                    out.write(number, row[None])
                    if self._results:
                        self._results.add(self._keys[number], row)
                progress.advance(len(numbers))
            out.columns["labels"] = images.column("labels")

    @cached_property
    def _keys(self) -> list[str]:
        """The SHA-256 of each image's pixels."""

        def hashed(rows: NDArray[np.uint8]) -> list[str]:
            return [hashlib.sha256(row.data).hexdigest() for row in rows]

        return [key for keys in portions.mapped(hashed, self._images) for key in keys]

    @property
    def _width(self) -> int:
        """The number of features, of a stored one where there is one: else the network has to be loaded."""
        for number in range(len(self._images)):
            if (row := self._stored(number)) is not None:
                return len(row)
        return int(self._run(self._images.read(0, 1)).shape[1])

    def _stored(self, number: int) -> NDArray[np.float32] | None:
        row = self._results.get(self._keys[number]) if self._results else None
        return None if row is None else row.copy().view(np.float32)

    def _computed(self, start: int) -> NDArray[np.float32]:
        return self._run(self._images.take(self.missing[start : start + self._count]))

    def _run(self, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
        full = np.zeros((self._count, *rows.shape[1:]), rows.dtype)
        full[: len(rows)] = rows
        return self._extract(full)[: len(rows)]


if __name__ == "__main__":
    cli.main(extract)
