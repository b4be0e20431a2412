"""Augmentation: random changes of training images, drawn per batch and applied in one pass per image.

Every move of pixels (patch, flip, zoom, shear, shift, rotation) is one affine matrix and one
`cv2.warpAffine`, whose time is nearly all there is; every change of colour is one matrix over the channels.
Albumentations 2.0.8, which does one transform after the other, takes 1.4 times as long for moves, 2.6 times
for patch and flip, and 4.8 times for colours (patches of 227x227 of 256x256, one core).
"""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.common.section import Section
from stages.data import crops
from stages.data.augment import colour, geometry
from stages.data.crops import Images, Patch, Pixels

# The part of a batch that is all of it.
ALL = slice(None)
Strength = Annotated[float, Field(ge=0, lt=1)]


class Augment(Section):
    """What may happen to a training image; zero, false or null is off.

    The moves are those of Keras' ImageDataGenerator (Practitioner Bundle ch. 2): every value is the largest
    of a range drawn from uniformly. Pixels are the same but for rounding, and with `wrap` and `constant` but
    for the outermost, which OpenCV blends with what is beyond. Elastic moves: Simard et al., Best Practices
    for Convolutional Neural Networks, ICDAR 2003. `pca_colour`: Krizhevsky et al. 2012 (design-patterns text,
    section 3). Cutout: DeVries and Taylor, arXiv:1708.04552; mixup: Zhang et al., arXiv:1710.09412; cutmix:
    Yun et al., arXiv:1905.04899.

    Attributes:
        rotation: Degrees that an image is turned by, to either side.
        shift: The share of height and width that an image is moved by, to either side.
        shear: Degrees that an image is slanted by, to either side.
        zoom: Height and width are each scaled by 1 - zoom to 1 + zoom.
        horizontal_flip: Half of the images are mirrored, left to right; not where left and right mean
            something.
        vertical_flip: Half of the images are mirrored, top to bottom.
        fill: What is beyond the border: the nearest pixel, a reflection, the other side (wrap) or black
            (constant).
        elastic: Root mean square of the lengths of smooth random moves of pixels, a share of the shorter
            side; for digits 0.03.
        resized_crop: The least share of the area that is cut out and brought back to size.
        brightness: Values are multiplied by 1 - brightness to 1 + brightness.
        contrast: Distances from mid-grey are multiplied by 1 - contrast to 1 + contrast.
        saturation: Distances from the grey image are multiplied by 1 - saturation to 1 + saturation.
        pca_colour: The deviation of shifts along the components of ImageNet's colours; 0.1 is AlexNet's.
        cutout: The side of a grey square, a share of the shorter side.
        mixup: Two images are blended, and their labels: alpha of the beta distribution of shares, of which
            0.2 is usual.
        cutmix: A box of another image is pasted, with its share of the label: alpha, as of `mixup`, of which
            1.0 is usual. With both, each batch gets one of them.
    """

    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: Strength
    shear: Annotated[float, Field(ge=0, lt=90)]
    zoom: Strength
    horizontal_flip: bool
    vertical_flip: bool
    fill: Literal["nearest", "reflect", "wrap", "constant"]
    elastic: Strength
    resized_crop: Annotated[float, Field(gt=0, le=1)] | None
    brightness: Strength
    contrast: Strength
    saturation: Strength
    pca_colour: Annotated[float, Field(ge=0)]
    cutout: Strength
    mixup: Annotated[float, Field(ge=0)]
    cutmix: Annotated[float, Field(ge=0)]

    @property
    def soft(self) -> bool:
        """Whether labels become shares of several classes."""
        return self.mixup > 0 or self.cutmix > 0


def augment_batch(
    images: Images,
    params: Augment,
    rng: np.random.Generator,
    patch: Patch | None = None,
    part: slice = ALL,
) -> Pixels:
    """Augment the images of a batch.

    Moved patches take what they need from beyond their border; `fill` is used only beyond the image's.

    Args:
        images: uint8 (N, H, W, C); C is 1 or 3, RGB.
        params: What may happen.
        rng: Draws everything.
        patch: (h, w), cut out at a random place; None: the whole image.
        part: Which images to compute. Changes are drawn for the whole batch, so that an image is changed in
            the same way whatever part is computed.

    Returns:
        uint8 (n, h, w, C), the n images of the part.
    """
    shape = patch or (images.shape[1], images.shape[2])
    flips = rng.random((len(images), 2)) < np.multiply(0.5, (params.horizontal_flip, params.vertical_flip))
    if geometry.moves(params):
        places = geometry.matrices(params, images, shape, flips, rng)
        pixels = geometry.warp(images[part], places[part], shape, params.fill)
    else:
        corners = crops.random_corners(images, shape, rng)
        pixels = crops.cut(images[part], shape, corners[part], flips[part])
    if params.elastic:
        geometry.deform(pixels, params.elastic, params.fill, rng, len(images), part)
    colour.change(pixels, params, rng, len(images), part)
    _cut_out(pixels, params.cutout, rng, len(images), part)
    return pixels


def shares(labels: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """Labels (N,) as shares of the classes (N, K), for `mix`.

    Rows of an identity matrix would be the same, of 1.8 GiB for 21,841 classes.
    """
    of_class = np.zeros((len(labels), classes), np.float32)
    of_class[np.arange(len(labels)), labels] = 1
    return of_class


def mix(
    pixels: Pixels, labels: NDArray[np.float32], params: Augment, rng: np.random.Generator
) -> tuple[Pixels, NDArray[np.float32]]:
    """Blend each image with another of its batch, and their labels (N, K) by the same shares.

    The share is drawn once per batch from a beta distribution: of brightness for mixup, of area for cutmix.
    """
    choices = [name for name in ("mixup", "cutmix") if getattr(params, name)]
    name = choices[int(rng.integers(len(choices)))]
    strength = getattr(params, name)
    share, partner = float(rng.beta(strength, strength)), rng.permutation(len(pixels))
    if name == "mixup":
        mixed = colour.blend(pixels, pixels[partner], share)
    else:
        mixed, share = geometry.paste(pixels, partner, share, rng)
    return mixed, share * labels + np.float32(1 - share) * labels[partner]


def _cut_out(pixels: Pixels, fraction: float, rng: np.random.Generator, count: int, part: slice) -> None:
    """Grey out a square whose side is this fraction of the shorter one; its centre may be anywhere."""
    if not fraction:
        return
    height, width = pixels.shape[1:3]
    side = max(1, round(fraction * min(height, width)))
    corners = rng.integers(0, (height, width), (count, 2)) - side // 2
    for image, (top, left) in zip(pixels, corners[part].tolist(), strict=True):
        # Mid-grey, because black would be an extreme after normalization.
        image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 127
