"""Run the pipeline on images of one's own: `make run DATA=PATH`.

Everything that can be known without decoding an image is said, and checked, before DVC starts.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stages import cli
from stages.common.errors import ParamsError, SourceError
from stages.data import layout
from stages.data.layout import Count, Layout

# Each class needs an image in train, val and test.
_MIN_PER_CLASS = 3
# Below this many, three-fold cross-validation on the train split is unreliable.
_FEW_PER_CLASS = 10
_MOBILENET = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_224_no_top.h5"
_WEIGHTS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
_LOCAL_WEIGHTS = "mobilenet_v2_*_224_no_top*.h5"
_GIGABYTE = 1e9


@dataclass(frozen=True)
class Choice:
    """A recipe for the images.

    Attributes:
        recipe: Its name.
        description: What it does, in words.
        overrides: Hydra overrides besides those of the source.
        side: Height and width of the images in pixels.
        seconds: Per 1,000 images on 2 cores: an estimate, to tell minutes from hours.
        start: Seconds that do not depend on the number of images; an estimate too.
    """

    recipe: str
    description: str
    overrides: tuple[str, ...]
    side: int
    seconds: float
    start: float


def run_images(path: Path, *, verbose: bool = False, dry_run: bool = False) -> None:
    """Say what a path holds and what the run will do, then run the pipeline on it.

    Args:
        path: A folder, an archive, a CSV file or a file of arrays.
        verbose: Show DVC's own messages and commands.
        dry_run: Stop before the pipeline starts.

    Raises:
        SourceError: The images cannot be used as they are.
        ParamsError: The disk is too small, or the folder cannot be written.
    """
    # Not resolved: DVC watches a link under its own name.
    recognized = layout.recognize(Path.cwd() / path.expanduser())
    files = layout.count(recognized)
    choice = choose(Path("datasets"))
    size = disk_bytes(sum(files.by_class.values()), choice.side)
    for line in describe(recognized, files, choice, size):
        print(line, flush=True)
    check(recognized, files, size)
    if dry_run:
        return
    status = subprocess.run(command(recognized, choice, verbose=verbose), check=False).returncode
    if status:
        sys.exit(status)
    print("\n".join(summarize_metrics(Path("reports"))), flush=True)


def choose(datasets: Path) -> Choice:
    """Choose a recipe: ImageNet features where weights are here or can be downloaded, else from scratch."""
    local = sorted(datasets.glob(_LOCAL_WEIGHTS))
    if local:
        alpha = local[-1].name.split("_")[2]
        weights = f"extractors.mobilenet_v2.weights={local[-1]}"
        overrides = (weights, f"extractors.mobilenet_v2.options={{alpha: {alpha}}}")
        return _with_features(f"weights: {local[-1]}", overrides)
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    if (home / "models" / _MOBILENET.format(alpha="1.0")).is_file():
        return _with_features("weights: in Keras' cache", ())
    if _can_download():
        return _with_features("weights: downloaded by Keras, 9 MB", ())
    return Choice(
        "images_from_scratch",
        "HOG + logistic regression, and MiniVGGNet from scratch; no ImageNet weights in datasets/, none "
        "to download: with them the accuracy is higher (docs/images.md)",
        (),
        side=64,
        seconds=60.0,
        start=40.0,
    )


def _with_features(weights: str, overrides: tuple[str, ...]) -> Choice:
    description = f"MobileNetV2 features ({weights}) + logistic regression"
    return Choice("images", description, overrides, side=224, seconds=40.0, start=40.0)


def _can_download() -> bool:
    request = urllib.request.Request(_WEIGHTS_URL + _MOBILENET.format(alpha="1.0"), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=5):
            return True
    except OSError:
        return False


def disk_bytes(images: int, side: int) -> int:
    """Estimate what a run writes: resized and packed images, each in the workspace and in DVC's cache."""
    return images * side * side * 3 * 4


def describe(recognized: Layout, files: Count, choice: Choice, size: int) -> list[str]:
    """Say what was recognized and what the run will do, in a few lines."""
    images = sum(files.by_class.values())
    largest = sorted(files.by_class.items(), key=lambda item: -item[1])
    names = ", ".join(f"{name} {number:,}" for name, number in largest[:6])
    more = f" and {len(largest) - 6} more" if len(largest) > 6 else ""
    seconds = choice.start + choice.seconds * images / 1000 * 2 / (os.cpu_count() or 1)
    lines = [
        f"{recognized.path}: {recognized.description}",
        f"  {images:,} files in {len(files.by_class)} classes: {names}{more}",
        f"  splits: {_describe_splits(recognized, files.by_split)}",
        f"  recipe {choice.recipe}: {choice.description}; images at {choice.side} x {choice.side}",
        f"  about {max(1, round(seconds / 60))} min, {size / _GIGABYTE:.1f} GB of disk",
    ]
    if files.unlabelled:
        lines.append(f"  {files.unlabelled:,} files without a class will be listed in data/rejects.csv")
    if few := [name for name, number in files.by_class.items() if number < _FEW_PER_CLASS]:
        lines.append(
            f"  warning: fewer than {_FEW_PER_CLASS} images in {len(few)} classes: {', '.join(few[:5])}"
        )
    return lines


def _describe_splits(recognized: Layout, by_split: Mapping[str, int]) -> str:
    if recognized.split == "content":
        return "15 % of each class for validation and 15 % for the test, by content"
    return "as the source names them: " + ", ".join(f"{name} {number:,}" for name, number in by_split.items())


def check(recognized: Layout, files: Count, size: int) -> None:
    """Refuse what would fail later.

    Raises:
        SourceError: There are fewer than two classes, or a class has too few images.
        ParamsError: The disk is too small, or the current folder cannot be written.
    """
    path = recognized.path
    if len(files.by_class) < 2:
        names = ", ".join(files.by_class) or "none"
        raise SourceError(f"{path}: a classifier needs at least two classes; here: {names}")
    small = {name: number for name, number in files.by_class.items() if number < _MIN_PER_CLASS}
    if small:
        counts = ", ".join(f"{name} {number}" for name, number in list(small.items())[:5])
        raise SourceError(f"{path}: each class needs {_MIN_PER_CLASS} images or more; too few: {counts}")
    if "${" in str(path):
        raise SourceError(f"{path}: a path must not contain ${{, which DVC and Hydra replace")
    if not os.access(".", os.W_OK):
        raise ParamsError(f"{Path.cwd()} cannot be written")
    free = shutil.disk_usage(".").free
    if free < size:
        needed, available = (f"{number / _GIGABYTE:.1f} GB" for number in (size, free))
        raise ParamsError(f"the run needs {needed} of disk; {Path.cwd()} has {available} free")


def command(recognized: Layout, choice: Choice, *, verbose: bool) -> list[str]:
    """Build DVC's command line; no shell reads it, so any path is safe."""
    source = {"kind": recognized.kind, "path": str(recognized.path), **recognized.settings}
    overrides = [
        f"recipe={choice.recipe}",
        *(f"++ingest.source.{key}={_quoted(value)}" for key, value in source.items()),
        f"ingest.split={recognized.split}",
        *choice.overrides,
    ]
    words = ["dvc", "exp", "run", *([] if verbose else ["--quiet"])]
    return words + [word for override in overrides for word in ("-S", override)]


def _quoted(value: str) -> str:
    """Quote a value for Hydra, where a backslash escapes only before a quote."""
    return "'" + re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value) + "'"


def summarize_metrics(reports: Path) -> list[str]:
    """Read the run's metrics as a short table, followed by the pages to open."""
    metrics = json.loads((reports / "metrics.json").read_text(encoding="utf-8"))
    width = max(map(len, metrics))
    rows = [
        f"  {name:{width}}  {scores['accuracy']:8.4f}  {scores['log_loss']:8.4f}"
        for name, scores in metrics.items()
    ]
    head = f"  {'':{width}}  accuracy  log loss   (test split, {next(iter(metrics.values()))['n']} images)"
    return [
        "",
        head,
        *rows,
        "",
        f"  {reports / 'index.html'}  the run",
        f"  {reports / 'data.html'}   the data",
    ]


if __name__ == "__main__":
    cli.main(run_images)
