"""The extractors: one file per kind, found by its name.

A file holds a `Params` class (`kind: Literal["NAME"]`, a subclass of protocols.ExtractorParams) and a
function `prepare(params, shape) -> Extract`. One with weights of its own also has
`save_weights(params, shape, folder)` and `with_saved_weights(params, folder) -> Params`, so that a served
model carries them.
"""

from stages.common import plugins
from stages.models.protocols import Extract, ExtractorParams


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
