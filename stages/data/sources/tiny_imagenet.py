"""The layout of Tiny ImageNet: train/CLASS/images/*, val/images/* with val/val_annotations.txt.

Its test folder has no labels and is passed over, so that the test split is cut out of train.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from stages.common.errors import SourceError
from stages.data.sources import Image, SourceParams
from stages.data.sources._walk import walk


class Params(SourceParams):
    """`path` is the folder that holds train and val."""

    kind: Literal["tiny_imagenet"]


def images(params: Params) -> Iterator[Image]:
    """Every image of train and val with its official split; the classes are WordNet's numbers.

    Raises:
        SourceError: A folder or the annotations are missing.
    """
    for image in walk(params.path / "train", pattern=None):
        label, _, inside = image.name.partition("/")
        if not inside.endswith("_boxes.txt"):
            yield replace(image, name=f"train/{image.name}", label=label, split="train")
    labels = _annotations(params.path / "val" / "val_annotations.txt")
    for image in walk(params.path / "val" / "images", pattern=None):
        yield replace(image, name=f"val/images/{image.name}", label=labels.get(image.name), split="val")


def _annotations(path: Path) -> dict[str, str]:
    """File name → class; tabs separate them and the box that follows."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"ingest.source.path: {path} cannot be read: {error}") from None
    pairs = (line.split("\t") for line in lines)
    return {name: label for name, label, *_ in (pair for pair in pairs if len(pair) > 1)}
