"""The recipe for images of one's own: ImageNet features where weights can be had, else from scratch."""

import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from stages.data.layout import Layout
from stages.report.pages.commands import quoted

_MOBILENET = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_224_no_top.h5"
_WEIGHTS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
_LOCAL_WEIGHTS = "mobilenet_v2_*_224_no_top*.h5"


@dataclass(frozen=True)
class Choice:
    """A recipe for the images.

    Attributes:
        recipe: Its name.
        description: What it does, in words.
        overrides: Hydra overrides besides those of the source.
    """

    recipe: str
    description: str
    overrides: tuple[str, ...]


def choose(datasets: Path) -> Choice:
    """Choose a recipe: ImageNet features where weights are here or can be downloaded, else from scratch."""
    local = sorted(datasets.glob(_LOCAL_WEIGHTS))
    if local:
        alpha = local[-1].name.split("_")[2]
        weights = f"extractors.mobilenet_v2.weights={local[-1]}"
        overrides = (weights, f"extractors.mobilenet_v2.options={{alpha: {alpha}}}")
        return _with_features(f"weights in {local[-1].parent}/", overrides)
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    if (home / "models" / _MOBILENET.format(alpha="1.0")).is_file():
        return _with_features("weights in Keras' cache", ())
    if _can_download():
        return _with_features("weights downloaded by Keras, 9 MB", ())
    return Choice(
        "images_from_scratch",
        "HOG + logistic regression, and MiniVGGNet trained from scratch.\n"
        "No ImageNet weights in datasets/, none to download: with them the accuracy is higher "
        "(docs/images.md)",
        (),
    )


def source_overrides(recognized: Layout, choice: Choice) -> list[str]:
    """Return the Hydra overrides that run a recipe on images; any path is safe in them."""
    source = {"kind": recognized.kind, "path": str(recognized.path), **recognized.settings}
    return [
        f"recipe={choice.recipe}",
        *(f"++ingest.source.{key}={quoted(value)}" for key, value in source.items()),
        f"ingest.split={recognized.split}",
        *choice.overrides,
    ]


def _with_features(weights: str, overrides: tuple[str, ...]) -> Choice:
    return Choice("images", f"MobileNetV2 features ({weights}) + logistic regression", overrides)


def _can_download() -> bool:
    request = urllib.request.Request(_WEIGHTS_URL + _MOBILENET.format(alpha="1.0"), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=5):
            return True
    except OSError:
        return False
