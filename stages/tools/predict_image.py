"""predict_image: what a registered model, or a network of keras.applications, says of any images.

python -m stages.tools.predict_image --model models:/digits@champion seven.png scans 'more/*.png'
python -m stages.tools.predict_image --network vgg16 --top 5 holiday.jpg
"""

import argparse
import csv
import glob
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import cli, params, tracking
from stages.common import log
from stages.common.errors import ImageError, ParamsError, SourceError
from stages.data import decoding
from stages.serving import answers, pretrained
from stages.serving.classifier import VIEWS

# Of images one names oneself; they are looked at one after the other.
_MAX_PIXELS = 200_000_000
# Path → the most probable classes with their probabilities, best first.
Ranked = Mapping[Path, Sequence[tuple[str, float]]]


def main(argv: list[str] | None = None) -> None:
    """Print the top classes. Exits with 1 after a line for each file that is no image, or an error."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.tools.predict_image",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="+", metavar="FILE", help="a file, a folder, or a quoted glob")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", help="a URI of MLflow; default: the champion of the recipe in params.yaml")
    which.add_argument("--network", help="a network of keras.applications with ImageNet's classes")
    parser.add_argument("--weights", default="imagenet", help="of the network: a file; default: downloaded")
    parser.add_argument("--top", type=int, default=3, help="classes to print; default: %(default)s")
    parser.add_argument("--crops", choices=VIEWS, help="of members trained on patches; default: as evaluated")
    parser.add_argument("--output", choices=("text", "csv", "json"), default="text")
    given = parser.parse_args(argv)
    with cli.told("predict_image"):
        paths, refused = _images(given.images)
        if given.network:
            classes, found = pretrained.classify(given.network, given.weights, paths)
        else:
            classes, found = _by_model(given.model or _champion(), paths, given.crops)
        _print(_ranked(paths, classes, found, given.top), given.output)
    sys.exit(1 if refused else 0)


def _champion() -> str:
    return f"models:/{params.load(Path('params.yaml')).recipe}@champion"


def _images(given: Iterable[str]) -> tuple[list[Path], int]:
    """The files that are images, and how many are not; each of those is told.

    Raises SourceError when a name leads to no file, or no file is an image.
    """
    good: list[Path] = []
    refused = 0
    for path in dict.fromkeys(path for name in given for path in _files(name)):
        try:
            decoding.inspect(path.read_bytes(), _MAX_PIXELS, hashed=False)
            good.append(path)
        except (ImageError, OSError) as error:
            refused += 1
            log.warning(f"{path}: {error}")
    if not good:
        raise SourceError(f"none of {refused} files is an image")
    return good, refused


def _files(name: str) -> Iterator[Path]:
    path = Path(name)
    if path.is_dir():
        yield from sorted(one for one in path.rglob("*") if one.is_file())
    elif path.is_file():
        yield path
    elif found := sorted(glob.glob(name, recursive=True)):  # noqa: PTH207  (an absolute pattern too)
        yield from (one for one in map(Path, found) if one.is_file())
    else:
        raise SourceError(f"{name}: no such file, folder or pattern")


def _by_model(uri: str, paths: Sequence[Path], crops: str | None) -> tuple[list[str], NDArray[np.float32]]:
    with tracking.connected():
        places = [(str(path.resolve()), 0, path.stat().st_size) for path in paths]
        found = answers.raw(uri, places, {"crops": crops} if crops else None)
    return found["classes"], np.asarray(found["probabilities"], np.float32)


def _ranked(paths: Sequence[Path], classes: Sequence[str], found: NDArray[Any], top: int) -> Ranked:
    if top < 1:
        raise ParamsError(f"--top is {top}; must be at least 1")
    order = np.argsort(-found, axis=1, kind="stable")[:, :top]
    return {
        path: [(classes[place], float(row[place])) for place in best]
        for path, row, best in zip(paths, found, order, strict=True)
    }


def _print(ranked: Ranked, output: str) -> None:
    rows = [
        {"path": str(path), "rank": rank, "label": label, "probability": probability}
        for path, best in ranked.items()
        for rank, (label, probability) in enumerate(best, start=1)
    ]
    if output == "json":
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif output == "csv":
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        for path, best in ranked.items():
            print(f"{path}: " + ", ".join(f"{label} {probability:.4f}" for label, probability in best))


if __name__ == "__main__":
    main()
