"""ResNet of pre-activation bottlenecks (He et al. 2016), for small images (Practitioner Bundle ch. 12).

The book calls some of these ResNet-56, which none of them is by its convolutions: stages and filters name a
network. Without `residual_reg` L2 is on every convolution; the book's listing does not hand `reg` on to the
residual modules, whose strength is 0.0001 whatever `reg` is.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from stages.common.section import Positive
from stages.models.networks import _layers as kl

SHAPE = (32, 32, 3)
CLASSES = 10

Strength = Annotated[float, Field(ge=0)]


def _check_divisible_by_4(filters: int) -> int:
    if filters % 4:
        raise PydanticCustomError(
            "filters", "a bottleneck has a quarter of the filters: must be divisible by 4"
        )
    return filters


class Options(kl.Style):
    """What can be varied.

    Attributes:
        stages: residual modules per stage.
        filters: of the stem and of each stage.
        stem: `cifar` is CONV 3x3; `tiny_imagenet` is CONV 5x5 → BN → ReLU → POOL 3x3.
        reg: strength of L2.
        residual_reg: strength of L2 in the residual modules; null takes `reg`.
    """

    stages: Annotated[Sequence[Positive], Field(min_length=1)] = (9, 9, 9)
    filters: Sequence[Annotated[Positive, AfterValidator(_check_divisible_by_4)]] = (64, 64, 128, 256)
    stem: Literal["cifar", "tiny_imagenet"] = "cifar"
    reg: Strength = 0.0001
    residual_reg: Strength | None = None

    @model_validator(mode="after")
    def _check_each_stage_has_filters(self) -> Self:
        if len(self.filters) != len(self.stages) + 1:
            raise PydanticCustomError(
                "filters",
                "filters has {count} numbers; must have {expected}: the stem's, and one for each of stages",
                {"count": len(self.filters), "expected": len(self.stages) + 1},
            )
        return self


def layers(x: Any, classes: int, options: Options) -> Any:
    """BN → stem → stages, all but the first halving the size → BN → ReLU → global average → FC softmax.

    For 32x32x3 and 10 classes, with three stages of nine modules: 60,790 weights with filters 16, 16, 32, 64;
    880,774 with 16, 64, 128, 256; 886,102 with 64, 64, 128, 256. The book's average pooling of 8x8 is global
    for its sizes; so it is here for every size.
    """
    stem, *filters = options.filters
    x = _normalized(x)
    if options.stem == "cifar":
        x = _conv(x, stem, 3, options)
    else:
        x = kl.activated(_normalized(_conv(x, stem, 5, options)), options)
        x = kl.MaxPooling2D(3, 2)(kl.ZeroPadding2D(1)(x))
    reg = options.reg if options.residual_reg is None else options.residual_reg
    inner = options.model_copy(update={"reg": reg})
    for stage, (modules, width) in enumerate(zip(options.stages, filters, strict=True)):
        x = _residual(x, width, 1 if stage == 0 else 2, inner, projected=True)
        for _ in range(modules - 1):
            x = _residual(x, width, 1, inner)
    x = kl.GlobalAveragePooling2D()(kl.activated(_normalized(x), options))
    return kl.softmax(x, classes, options.reg, initializer=options.initializer)


def _residual(x: Any, filters: int, stride: int, options: Options, projected: bool = False) -> Any:
    """(BN → ReLU → CONV) three times, 1x1, 3x3 and 1x1, added to the input or to its projection."""
    active = kl.activated(_normalized(x), options)
    shortcut = _conv(active, filters, 1, options, stride) if projected else x
    inner = _conv(active, filters // 4, 1, options)
    inner = _conv(kl.activated(_normalized(inner), options), filters // 4, 3, options, stride)
    inner = _conv(kl.activated(_normalized(inner), options), filters, 1, options)
    return kl.Add()([inner, shortcut])


def _normalized(x: Any) -> Any:
    return kl.BatchNormalization(epsilon=2e-5, momentum=0.9)(x)


def _conv(x: Any, filters: int, kernel: int, options: Options, stride: int = 1) -> Any:
    # No bias: batch normalization, which follows, would take it away again.
    return kl.Conv2D(
        filters,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer=kl.keras_initializer(options.initializer),
        kernel_regularizer=kl.l2(options.reg),
    )(x)
