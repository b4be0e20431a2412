"""The extractors: one file per kind, found by its name.

A file holds a `Params` class (`kind: Literal["NAME"]`, a subclass of protocols.ExtractorParams) and a
function `prepare(params, shape) -> Extract`. One with weights of its own also has
`save_weights(params, shape, folder)` and `with_saved_weights(params, folder) -> Params`, so that a served
model carries them.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from stages.common import plugins
from stages.models.protocols import Extract, ExtractorParams

# The extractor that this process used last, by the key of `features`.
_PREPARED: dict[str, Extract] = {}
_LOCK = threading.Lock()


def prepare(params: ExtractorParams, shape: tuple[int, ...]) -> Extract:
    """Make the function that computes features.

    Args:
        params: of any extractor here.
        shape: (H, W, C) of the images.

    Returns:
        A function of images uint8 (N, H, W, C) → features float32 (N, D), which threads may share.

    Raises:
        ParamsError: the params do not suit the image size, or weights are missing or changed.
    """
    extract: Extract = plugins.module(__name__, params.kind).prepare(params, shape)
    return extract


def features(
    pixels: NDArray[np.uint8], key: str, params: ExtractorParams, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Compute features with an extractor that this process prepares once, whichever thread needs it first.

    Args:
        pixels: uint8 (N, H, W, C).
        key: A digest of all that the extractor follows from. Params name files, which may change.
        params: As in `prepare`.
        shape: Likewise.

    Returns:
        float32 (N, D).

    Raises:
        ParamsError: As in `prepare`.
    """
    with _LOCK:
        if key not in _PREPARED:
            _PREPARED.clear()
            _PREPARED[key] = prepare(params, shape)
        extract = _PREPARED[key]
    return extract(pixels)
