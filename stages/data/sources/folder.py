"""A folder of images where the class is the name of an image's folder."""

from collections.abc import Iterator
from typing import Literal

from stages.data.sources import Image, SourceParams
from stages.data.sources._walk import walk


class Params(SourceParams):
    """`path` is the folder that holds one folder per class; folders may be nested."""

    kind: Literal["folder"]


def images(params: Params) -> Iterator[Image]:
    """Every file below the folder that is not hidden, sorted by path."""
    return walk(params.path, pattern=None)
