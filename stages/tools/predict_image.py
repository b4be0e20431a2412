"""predict_image: what a registered model, or a network of keras.applications, predicts for any images."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter, validators
from numpy.typing import NDArray

from stages import cli, tracking
from stages.common import log
from stages.common.errors import ImageError, InterruptedServingError, ServingError, SourceError, UsageError
from stages.data import decoding
from stages.data.crops import Crops
from stages.data.decoding import MAX_PIXELS
from stages.data.sources import Image
from stages.data.sources._naming import is_ignored
from stages.serving import address, isolated, pretrained
from stages.tools import _answers


def predict_image(
    images: list[str],
    *,
    model: str | None = None,
    network: str | None = None,
    weights: str = "imagenet",
    top: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 3,
    crops: Crops | None = None,
    output: _answers.Format = "text",
) -> None:
    """Print the most probable classes of images.

    python -m stages.tools.predict_image --model models:/digits@champion seven.png scans 'more/*.png'
    python -m stages.tools.predict_image --network vgg16 --top 5 holiday.jpg

    Args:
        images: Files, folders or quoted glob patterns.
        model: The model's URI in MLflow; by default the champion of the recipe in params.yaml.
        network: Instead of a model: a network of keras.applications with ImageNet's classes.
        weights: Of the network: a file; by default downloaded.
        top: The number of classes to print.
        crops: What members trained on patches see; by default as in the evaluation.
        output: The format; `submission` has Kaggle's columns `id` and `label`, a row per file.

    Raises:
        UsageError: When both a model and a network are named.
        ServingError: When the model cannot be used, or is a champion that does not exist.
        SourceError: When a name leads to no file, or a file is no image. All other files are predicted first.
    """
    if model and network:
        raise UsageError("name either --model or --network")
    if model:
        address.check_form(model)
    paths, refused = _read_images(images)
    if network:
        classes, probabilities = pretrained.classify(network, weights, paths)
    else:
        classes, probabilities = _predict(model or _champion(), paths, crops)
    _answers.show(_answers.Answers(paths, classes, probabilities, top), output)
    if refused:
        raise SourceError(f"not images: {refused} of {_files(refused + len(paths))}; see the warnings above")


def _champion() -> str:
    # 0.4 CPU seconds, which a command that names its model is spared.
    from stages import params

    return f"models:/{params.load(Path('params.yaml')).recipe}@champion"


def _read_images(names: Iterable[str]) -> tuple[list[Path], int]:
    """The files that are images, and the number of the others, each of which is logged as a warning."""
    images: list[Path] = []
    refused = 0
    for path in dict.fromkeys(path for name in names for path in _list_files(name)):
        try:
            _check_path(path)
            # As ingest reads it, which refuses films and pipes.
            data = Image(path.name, None, path=path).read()
            decoding.inspect(data, MAX_PIXELS, hashed=False)
            images.append(path)
        except (ImageError, OSError) as error:
            refused += 1
            log.warning("skipped_image", path=path, reason=error)
    if not images:
        raise SourceError(
            f"none of {_files(refused)} is an image" if refused else "the folders hold no files"
        )
    return images, refused


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _check_path(path: Path) -> None:
    """Refuse a link that leads to no file, and a name that is no text: no format of the answers holds it."""
    if path.is_symlink():
        if path.is_dir():
            raise ImageError("link to a folder")
        if not path.exists():
            raise ImageError("broken link")
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        raise ImageError("the name is not valid UTF-8") from None


def _list_files(name: str) -> Iterator[Path]:
    path = Path(name)
    if path.is_dir():
        below = (file for file in path.rglob("*") if not is_ignored(file.relative_to(path).as_posix()))
        # A link to a folder is not followed, as it can loop. It is counted: a submission lacks its rows.
        yield from sorted(file for file in below if file.is_symlink() or not file.is_dir())
    elif path.is_file() or path.is_symlink():
        yield path
    elif matches := sorted(glob.glob(name, recursive=True)):  # noqa: PTH207  (an absolute pattern too)
        # A hidden folder that the pattern names is meant.
        root = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        for file in map(Path, matches):
            # A folder that a pattern matches is passed over, and so is a link to one.
            if not file.is_dir() and not is_ignored(file.relative_to(root).as_posix()):
                yield file
    else:
        raise SourceError(f"{name}: no such file, folder or pattern")


def _predict(uri: str, paths: Sequence[Path], crops: str | None) -> tuple[list[str], NDArray[np.float32]]:
    tracking.export_address()
    places = [(str(path.resolve()), 0, path.stat().st_size) for path in paths]
    try:
        predictions = isolated.classify(uri, places, {"crops": crops} if crops else None)
    except ServingError as error:
        if not isinstance(error, InterruptedServingError):
            _check_champion(uri)
        raise
    return predictions["classes"], np.asarray(predictions["probabilities"], np.float32)


def _check_champion(uri: str) -> None:
    # Only after a failure: this import and MLflow's take 2 s.
    from stages.serving import registry

    with tracking.connected():
        registry.check_champion(uri)


if __name__ == "__main__":
    cli.main(predict_image)
