"""Histograms of oriented gradients: shape without colour, no weights needed.

Source: N. Dalal, B. Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.common.errors import ParamsError
from stages.common.section import Positive
from stages.models.protocols import Extract, ExtractorParams


class Params(ExtractorParams):
    """The grid of cells and blocks.

    Attributes:
        cell: a cell's side in pixels.
        block: a block's side in cells; neighbouring blocks are one cell apart.
        bins: orientations of a histogram.
    """

    kind: Literal["hog"]
    cell: Positive
    block: Positive
    bins: Positive


def prepare(params: Params, shape: tuple[int, ...]) -> Extract:
    """Set up OpenCV's HOGDescriptor over the whole image; its gamma correction (a square root) is on.

    Args:
        params: the grid.
        shape: (H, W, C) of the images.

    Returns:
        A function of images uint8 (N, H, W, C) → features float32 (N, D), D = blocks x cells x bins.

    Raises:
        ParamsError: the image is not a whole number of cells, or smaller than a block.
    """
    import cv2

    height, width = shape[:2]
    block = params.cell * params.block
    if height % params.cell or width % params.cell or block > min(height, width):
        raise ParamsError(
            f"hog needs resize.size to be multiples of cell = {params.cell} and at least cell * block = "
            f"{block}; it is {height}x{width}"
        )
    descriptor = cv2.HOGDescriptor(
        (width, height), (block, block), (params.cell, params.cell), (params.cell, params.cell), params.bins
    )

    def extract(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([np.asarray(descriptor.compute(image), np.float32).ravel() for image in pixels])

    return extract
