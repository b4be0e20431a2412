"""Any network of keras.applications, from scratch or pretrained, with its own preprocessing inside."""

from typing import Annotated, Any, Literal

from pydantic import Field

from stages.common.section import Section
from stages.models import backbones
from stages.models.networks import _layers as kl

SHAPE = (224, 224, 3)
CLASSES = backbones.IMAGENET_CLASSES
NORMALIZES = True


class Options(Section):
    """Which backbone, from which weights, and the head that follows.

    Attributes:
        backbone: a network of keras.applications in any spelling.
        weights: null (random), `imagenet` (downloaded by Keras once) or a file of the network without top.
        sha256: of that file. DVC watches the params and not the file.
        pooling: how the last feature maps become a vector.
        dropout: the share of that vector that dropout leaves out.
        backbone_options: arguments of Keras' constructor, such as `{alpha: 0.35}` of MobileNetV2.
    """

    backbone: str = "MobileNetV2"
    weights: backbones.Weights | None = None
    sha256: backbones.Sha256 | None = None
    pooling: Literal["avg", "max"] = "avg"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    backbone_options: dict[str, float | int | bool] = Field(default_factory=dict)


def layers(x: Any, classes: int, options: Options) -> Any:
    """Preprocessing → the backbone → pooling → dropout → FC softmax; every layer is trained.

    Raises:
        ParamsError: as `backbones.attach`.
    """
    features = backbones.attach(
        x, options.backbone, options.weights, options.sha256, options.backbone_options
    ).output
    pool = kl.GlobalAveragePooling2D if options.pooling == "avg" else kl.GlobalMaxPooling2D
    return kl.softmax(kl.Dropout(options.dropout)(pool()(features)), classes)
