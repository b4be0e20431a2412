"""How a file's folder or name gives its class and its split, and the check of such patterns."""

import posixpath
import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from stages.data.manifest import Split

# What people call the splits, in folders and tables.
SPLIT_NAMES: Mapping[str, "Split"] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

# Windows' previews and settings, macOS' resource forks, Synology's previews, Java's manifest.
_LEFT_BEHIND = {
    "$recycle.bin",
    "@eadir",
    "__macosx",
    "desktop.ini",
    "ehthumbs.db",
    "meta-inf",
    "system volume information",
    "thumbs.db",
}


def _check_pattern(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise PydanticCustomError("pattern", "not a regular expression: {why}", {"why": str(error)}) from None
    if groups != 1:
        raise PydanticCustomError("pattern", "must have exactly one group, (…), around the class name")
    return pattern


Pattern = Annotated[str, AfterValidator(_check_pattern)]


def label_of(name: str, pattern: str | None) -> str | None:
    """The class of a file: the pattern's group in the file name, or the parent folder when pattern is None.

    `name` is a POSIX path inside the source. None where the pattern does not match or there is no folder.
    """
    folder, file = posixpath.split(name)
    if pattern is None:
        return posixpath.basename(folder) or None
    # An accent of its own, as macOS writes it, is no letter to a pattern.
    pattern, file = (unicodedata.normalize("NFC", text) for text in (pattern, file))
    match = re.search(pattern, file)
    return (match.group(1) or None) if match else None


def split_of(name: str) -> "Split | None":
    """The split that a folder in a POSIX path names, the outermost if there are several; else None."""
    folders = name.casefold().split("/")[:-1]
    return next((SPLIT_NAMES[folder] for folder in folders if folder in SPLIT_NAMES), None)


def is_ignored(name: str) -> bool:
    """Whether a part of the POSIX path starts with a dot or is what operating systems and NAS leave behind.

    Ingest and predict_image leave out the same files.
    """
    return any(part.startswith(".") or part.casefold() in _LEFT_BEHIND for part in name.split("/"))
