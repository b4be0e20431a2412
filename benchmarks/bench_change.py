"""The cost of a run when one image in a hundred is new, beside a run from nothing.

Both run `dvc repro` from ingest to extract in a clone of the committed code, so the figures hold what a user
waits for: starting, hashing and linking included. CPU seconds are those of DVC and of all stages; unlike
seconds, they can be compared on a busy machine. Decodes and forward passes are counted.
"""

import shutil
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import harness, images
from benchmarks.harness import Row, Settings
from benchmarks.workspace import Cost, Workspace

SIDE, NEW = 224, 100
_ALPHA = 0.35
_UNITS = {"seconds": "s", "cpu": "s", "decodes": "", "passes": ""}


def measure(settings: Settings) -> list[Row]:
    """Features of MobileNetV2, of small or own images."""
    if settings.data is None:
        return compare(settings, "small", images.small(settings), _backbone(settings.work))
    (folder,) = images.sets(settings).values()
    return compare(settings, "own", folder, _backbone(settings.work))


def compare(settings: Settings, name: str, source: Path, extractor: Mapping[str, Any]) -> list[Row]:
    """Run with 1 % new images and from nothing, in turn.

    Args:
        settings: The number of repeats, and the folder to work in.
        name: What the rows call the images.
        source: A folder per class.
        extractor: A section of `extractors`.
    """
    changed, from_nothing = [], []
    for _ in range(settings.repeats):
        changed.append(_changed(settings.work / "changed", source, extractor))
        from_nothing.append(_from_nothing(settings.work / "from_nothing", source, extractor))
    return [
        Row(
            f"{figure} of dvc repro from ingest to extract, 1 % new of {name} images",
            unit,
            statistics.median(getattr(cost, figure) for cost in changed),
            bound=statistics.median(getattr(cost, figure) for cost in from_nothing),
        )
        for figure, unit in _UNITS.items()
    ]


def _changed(root: Path, source: Path, extractor: Mapping[str, Any]) -> Cost:
    workspace, files = Workspace.create(root, extractor, SIDE), _files(source)
    workspace.add(source, [path for number, path in enumerate(files) if number % NEW])
    workspace.reproduce()
    workspace.add(source, files[::NEW])
    cost = workspace.reproduce()
    shutil.rmtree(root)
    return cost


def _from_nothing(root: Path, source: Path, extractor: Mapping[str, Any]) -> Cost:
    workspace = Workspace.create(root, extractor, SIDE)
    workspace.add(source, _files(source))
    cost = workspace.reproduce()
    shutil.rmtree(root)
    return cost


def _files(source: Path) -> list[Path]:
    return sorted(path for path in source.rglob("*") if path.is_file())


def save_backbone(path: Path) -> None:
    """Write the weights of `backbone`: random ones, which cost the same arithmetic."""
    import keras

    keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(SIDE, SIDE, 3), alpha=_ALPHA
    ).save_weights(path)


def backbone(weights: Path) -> dict[str, Any]:
    """A section of `extractors`: MobileNetV2 at width 0.35."""
    options = {"alpha": _ALPHA}
    file = str(weights.absolute())
    return {"kind": "keras_applications", "backbone": "MobileNetV2", "weights": file, "options": options}


def _backbone(folder: Path) -> dict[str, Any]:
    weights = folder / "mobilenet.weights.h5"
    save_backbone(weights)
    return backbone(weights)


if __name__ == "__main__":
    harness.main(measure)
