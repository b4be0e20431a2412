r"""A folder of images where the file name gives the class, as in `cat.123.jpg`."""

from collections.abc import Iterator
from typing import Literal

from stages.data.sources import Image, SourceParams
from stages.data.sources._naming import Pattern
from stages.data.sources._walk import walk


class Params(SourceParams):
    r"""A folder on disk.

    Attributes:
        path: The folder; folders in it may be nested.
        pattern: Searched in the file name; its one group is the class: `^([a-z]+)\.` for `cat.1.jpg`.
    """

    kind: Literal["filename"]
    pattern: Pattern


def images(params: Params) -> Iterator[Image]:
    """Every file below the folder that is not hidden, sorted by path."""
    return walk(params.path, params.pattern)
