"""The layout of Tiny ImageNet: train/CLASS/images/*, val/images/* with val/val_annotations.txt, words.txt.

Its test folder has no labels and is passed over, so that the test split is cut out of train.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from stages.common.errors import SourceError, raise_if_transient
from stages.data.sources import Image, SourceParams
from stages.data.sources._walk import walk


class Params(SourceParams):
    """`path` is the folder that holds train and val."""

    kind: Literal["tiny_imagenet"]


def images(params: Params) -> Iterator[Image]:
    """Every image of train and val with its official split.

    The classes are the first of their words in words.txt, `goldfish` for `n01443537`. Without the file, and
    where two classes of train have the same word, they are WordNet's numbers.

    Raises:
        SourceError: A folder or the annotations are missing.
    """
    words = _words(params.path)
    for image in walk(params.path / "train", pattern=None):
        number, _, inside = image.name.partition("/")
        if not inside.endswith("_boxes.txt"):
            label = words.get(number, number)
            yield replace(image, name=f"train/{image.name}", label=label, split="train")
    numbers = _annotations(params.path / "val" / "val_annotations.txt")
    for image in walk(params.path / "val" / "images", pattern=None):
        annotated = numbers.get(image.name)
        word = words.get(annotated, annotated) if annotated else None
        yield replace(image, name=f"val/images/{image.name}", label=word, split="val")


def _words(folder: Path) -> dict[str, str]:
    """WordNet's number → the first word, of the classes of train whose word no other class has."""
    path = folder / "words.txt"
    if not path.is_file() or not (folder / "train").is_dir():
        return {}
    classes = {entry.name for entry in (folder / "train").iterdir()}
    words = {
        number: text.partition(",")[0].strip()
        for number, text in _annotations(path).items()
        if number in classes
    }
    counts = Counter(words.values())
    return {number: word for number, word in words.items() if word and counts[word] == 1}


def _annotations(path: Path) -> dict[str, str]:
    """First → second column of a file with tabs: file name → class, number → words."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise_if_transient(error)
        raise SourceError(f"ingest.source.path: {path} cannot be read: {error}") from None
    pairs = (line.split("\t") for line in lines)
    return {name: label for name, label, *_ in (pair for pair in pairs if len(pair) > 1)}
