"""extract: packed images → a feature vector each, one HDF5 file per split."""

import hashlib
import os
import platform
from collections.abc import Callable
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import cli
from stages.common import fingerprint, log, parallel
from stages.common.files import digest, replace_folder_atomically
from stages.data import portions, results_store, store
from stages.data.manifest import SPLITS
from stages.data.results_store import Results
from stages.models import extractors
from stages.models.protocols import Extract, ExtractorParams
from stages.params import PACKED

# What a feature follows from besides code, params and pixels, where it is installed.
_PACKAGES = ("numpy", "opencv-python-headless", "keras", "tensorflow-cpu", "tensorflow", "jax", "torch")


@cli.command(params="extractors.{name}")
def extract(name: str, *, params: ExtractorParams, packed: Path, features: Path) -> None:
    """Run one extractor over every split.

    Writes train.h5, val.h5 and test.h5 with `features` float32 (N, D), and labels, ids and order as packed.
    Features of pixels that any run has seen come from the store of results; without a new image, no network
    is loaded. Batches always have the same number of rows, so that a feature does not depend on the others.
    """
    with store.Reader(packed / "train.h5") as train:
        shape = train.shape[1:]
    described = {"input": PACKED, "extractor": {"name": name, **params.model_dump()}}
    prepare = cache(lambda: extractors.prepare(params, shape))
    with (
        results_store.opened("features", _follows_from(params, shape)) as results,
        replace_folder_atomically(features, [f"{split}.h5" for split in SPLITS]) as folder,
    ):
        for split in SPLITS:
            with store.Reader(packed / f"{split}.h5") as images:
                work = Extraction(images, prepare, results)
                work.write(folder / f"{split}.h5", described)
                log.event("extracted_features", split=split, images=len(images), computed=len(work.missing))


class Extraction:
    """The features of one packed file: stored ones, and new ones in batches of one size."""

    def __init__(self, images: store.Reader, prepare: Callable[[], Extract], results: Results | None) -> None:
        """Without `results`, all features are computed; `prepare` is called when the first is."""
        self._images, self._prepare, self._results = images, prepare, results
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
            if self.missing:
                # Before the threads, which would each load a network.
                self._prepare()
            starts = range(0, len(self.missing), self._count)
            for start, rows in zip(starts, parallel.mapped(self._computed, starts, ahead=2), strict=True):
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
        return self._prepare()(full)[: len(rows)]


def _follows_from(params: ExtractorParams, shape: tuple[int, ...]) -> dict[str, Any]:
    """Code, params and weights, versions, and the machine: processors round floats each in their own way."""
    values = params.model_dump(mode="json")
    files = [Path(value).expanduser() for value in values.values() if isinstance(value, str) and value]
    return {
        "code": fingerprint.code("stages.extract", {extractors.__name__: (params.kind,)}),
        "params": values,
        "shape": shape,
        "files": [digest(path) for path in files if path.is_file()],
        "packages": {name: installed for name in _PACKAGES if (installed := _version(name))},
        "backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "machine": [platform.machine(), _processor(), Path("/dev/nvidia0").exists()],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    cli.main(extract)
