"""Recognize how a folder or a file of images is laid out, before anything is decoded."""

import csv
import os
import tarfile
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stages.common import plugins
from stages.common.errors import SourceError
from stages.data import sources
from stages.data.manifest import Split
from stages.data.sources._naming import SPLIT_NAMES, is_ignored, label_of, split_of
from stages.data.sources._walk import exists

# A class in a file name: before the number, as in cat.12.jpg and tabby_cat (12).jpg, or after it: 12_cat.jpg.
PATTERNS = (r"^([^\W\d][\w-]*?)[ ._-]*\(?\d+\)?\.\w+$", r"^\d+[ ._-]+([^\W\d][\w-]*?)\.\w+$")
# The share of file names that a pattern has to match.
_MATCHED = 0.95
_ARRAYS = (".h5", ".hdf5", ".npz")
_ARCHIVES = (".bz2", ".gz", ".tar", ".tgz", ".xz", ".zip")
# The source of archives says what unpacks them.
_OTHER_ARCHIVES = (".7z", ".rar", ".zst")
_NEEDED = {"path", "label"}


@dataclass(frozen=True)
class Layout:
    """How images are laid out.

    Attributes:
        description: In words: "one folder per class".
        path: What the source reads: the path itself, or the archive or table's folder that it points to.
        kind: The source that reads it: a module of stages/data/sources.
        settings: What that source needs besides its path: `pattern` or `table`.
        split: `from_path` where train, val or test are named, else `content`.
    """

    description: str
    path: Path
    kind: str
    settings: dict[str, str] = field(default_factory=dict)
    split: Literal["content", "from_path"] = "content"

    def params(self) -> sources.SourceParams:
        """Return the params of the source."""
        values = {"kind": self.kind, "path": self.path, **self.settings}
        params: sources.SourceParams = plugins.module(sources.__name__, self.kind).Params(**values)
        return params


@dataclass(frozen=True)
class Count:
    """Candidate files, not decoded: by class, by the split that the source names, and without a class.

    Attributes:
        by_class: Label → number.
        by_class_in_train: The same of those that are named train.
        by_split: Split → number, of those whose split is named.
        unlabelled: Files without a class, and those that are missing or cannot be used.
        first: The first of these with its problem, as text; empty where there is none.
    """

    by_class: dict[str, int]
    by_class_in_train: dict[str, int]
    by_split: dict[Split, int]
    unlabelled: int
    first: str = ""


def recognize(path: Path) -> Layout:
    """Say what a path holds.

    Args:
        path: A folder, an archive, a CSV file, or a file of arrays.

    Returns:
        The first layout that fits, the most specific first.

    Raises:
        SourceError: The path does not exist, no layout fits (the message says what was looked for), there is
            one class alone, or a folder named as a split holds no classes.
    """
    if path.is_dir():
        for attempt in (_tiny_imagenet, _table, _split_folders, _class_folders, _file_names, _only_archive):
            if (layout := attempt(path)) is not None:
                return layout
        raise SourceError(_describe_failure(path))
    if not path.exists():
        raise SourceError(f"{path} does not exist")
    if path.suffix.lower() in _ARRAYS:
        return Layout("a file of arrays", path, "arrays")
    if path.suffix.lower() == ".csv":
        return _table_layout(path)
    named = path.suffix.lower() in (*_ARCHIVES, *_OTHER_ARCHIVES)
    if not named and path.is_file() and not _is_archive(path):
        raise SourceError(
            f"{path} is a file; allowed: a folder, an archive ({', '.join(_ARCHIVES)}), a CSV file (.csv), "
            f"or a file of arrays ({', '.join(_ARRAYS)})"
        )
    return Layout("an archive", path, "archive")


def count(source: sources.SourceParams) -> Count:
    """Count candidate files without decoding them.

    Args:
        source: The params of the source that lists them.

    Raises:
        SourceError: The source cannot be read.
    """
    classes: Counter[str] = Counter()
    in_train: Counter[str] = Counter()
    splits: Counter[Split] = Counter()
    unlabelled, first = 0, ""
    for image in sources.images(source):
        missing = "does not exist" if image.path and not exists(image.path) else None
        if problem := image.problem or missing or (None if image.label else "no class"):
            unlabelled += 1
            first = first or f"{image.name}: {problem}"
            continue
        assert image.label is not None
        classes[image.label] += 1
        split = image.split or split_of(image.name)
        # Where a source names its splits, `ingest` rejects an image outside of them.
        in_train[image.label] += split == "train"
        if split:
            splits[split] += 1
    return Count(dict(sorted(classes.items())), dict(in_train), dict(splits), unlabelled, first)


def _tiny_imagenet(path: Path) -> Layout | None:
    fits = (path / "wnids.txt").is_file() and (path / "train").is_dir() and (path / "val").is_dir()
    return Layout("Tiny ImageNet", path, "tiny_imagenet", split="from_path") if fits else None


def _table(path: Path) -> Layout | None:
    """A CSV file with the columns path and label beside the images."""
    tables = [entry for entry in _entries(path) if entry.suffix.lower() == ".csv"]
    tables = [table for table in tables if _columns(table) >= _NEEDED]
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise SourceError(f"{path} has several tables ({names}); name the one to use")
    return _table_layout(tables[0]) if tables else None


def _table_layout(table: Path) -> Layout:
    split: Literal["content", "from_path"] = "from_path" if "split" in _columns(table) else "content"
    return Layout(f"a table, {table.name}", table.parent, "csv", {"table": table.name}, split)


def _split_folders(path: Path) -> Layout | None:
    names = [entry.name for entry in _folders(path) if entry.name.casefold() in SPLIT_NAMES]
    if not names or not all(_folders(path / name) for name in names):
        return None
    description = f"split folders ({', '.join(names)}) with one folder per class"
    return Layout(description, path, "folder", split="from_path")


def _class_folders(path: Path) -> Layout | None:
    folders = _folders(path)
    if len(folders) < 2:
        return None
    _check_split_folders(path, [folder for folder in folders if folder.name.casefold() in SPLIT_NAMES])
    return Layout("one folder per class", path, "folder")


def _check_split_folders(path: Path, splits: list[Path]) -> None:
    """Refuse a folder named as a split that holds images: a network would learn to tell train from test."""
    flat = [folder.name for folder in splits if not _folders(folder)]
    if not flat:
        return
    train = [folder for folder in splits if SPLIT_NAMES[folder.name.casefold()] == "train"]
    alone = f"name {train[0]} alone, " if train else ""
    raise SourceError(
        f"{path}: the folder {flat[0]!r} is named as a split and holds no folder per class; sort its images "
        f"into such folders, {alone}or rename {flat[0]!r} if it is a class"
    )


def _file_names(path: Path) -> Layout | None:
    """Classes in file names: the pattern must match nearly all of them and give at least two classes."""
    names = _file_names_in(path)
    for pattern in PATTERNS:
        labels = [label for name in names if (label := label_of(name, pattern))]
        if len(labels) >= _MATCHED * len(names) and 1 < len(set(labels)) <= len(labels) / 2:
            return Layout("file names with the class", path, "filename", {"pattern": pattern})
    return None


def _is_archive(path: Path) -> bool:
    """Whether a file is an archive by its bytes: one may have another suffix, such as .tbz2, or none."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def _only_archive(path: Path) -> Layout | None:
    """A folder that holds nothing but an archive, as a download leaves it."""
    entries = _entries(path)
    single = len(entries) == 1 and entries[0].is_file() and entries[0].suffix.lower() in _ARCHIVES
    return Layout("an archive", entries[0], "archive") if single else None


def _describe_failure(path: Path) -> str:
    names, folders = _file_names_in(path), _folders(path)
    if not names and len(folders) == 1 and (images := len(_file_names_in(folders[0]))):
        return f"{path}: a classifier needs at least two classes; here: {folders[0].name} {images}"
    tried = "one folder per class, train/val/test folders, a CSV file with the columns path and label"
    if not names:
        return f"{path} has no images in a known layout; looked for {tried}"
    examples = ", ".join(names[:3])
    return f"{path}: no class in file names such as {examples}; looked for {tried}, and {PATTERNS[0]}"


def _entries(path: Path) -> list[Path]:
    return sorted(path / entry.name for entry in os.scandir(path) if not is_ignored(entry.name))


def _folders(path: Path) -> list[Path]:
    return [entry for entry in _entries(path) if entry.is_dir()]


def _file_names_in(path: Path) -> list[str]:
    return [entry.name for entry in _entries(path) if entry.is_file()]


def _columns(table: Path) -> set[str]:
    """The names in the first line; none where it is no line of a table."""
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        try:
            return {name.strip() for name in next(csv.reader(file), [])}
        except csv.Error:
            return set()
