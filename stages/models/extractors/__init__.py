"""What can turn images into feature vectors: one file per kind of extractor.

A kind is a module with a `Params` class (`kind: Literal["NAME"]`) and a function
`prepare(params, shape) -> Extract`. The file's name is its registration.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.common import plugins
from stages.common.section import Section

# uint8 (N, H, W, C) → float32 (N, D). Several threads call it at once.
Extract = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class ExtractorParams(Section):
    """What every extractor has."""

    kind: str


def prepare(params: ExtractorParams, shape: tuple[int, ...]) -> Extract:
    """An extractor for images of shape (H, W, C). Raises ParamsError when they do not go together."""
    extract: Extract = plugins.module(__name__, params.kind).prepare(params, shape)
    return extract
