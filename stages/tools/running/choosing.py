"""The recipe for images of one's own: ImageNet features where weights can be had, else from scratch."""

import os
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.data.layout import Layout
from stages.report.pages.commands import quoted, word

_MOBILENET = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_224_no_top.h5"
_WEIGHTS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
# Keras has two names for the file; each ends with the width.
_LOCAL_WEIGHTS = re.compile(r"mobilenet_v2_(?:\w+_)?(\d\.\d+)_224_no_top.*\.h5")


@dataclass(frozen=True)
class Choice:
    """A recipe for the images.

    Attributes:
        recipe: Its name.
        description: What it does, in words.
        backbone: Params of `extractors.mobilenet_v2` that differ from the recipe's.
    """

    recipe: str
    description: str
    backbone: Mapping[str, Any] = field(default_factory=dict)


def choose(datasets: Path) -> Choice:
    """Choose a recipe: ImageNet features where weights are here or can be downloaded, else from scratch."""
    names = sorted(path.name for path in datasets.glob("*.h5"))
    local = [match for name in names if (match := _LOCAL_WEIGHTS.fullmatch(name))]
    if local:
        name, width = local[-1].group(0, 1)
        backbone = {"weights": str(datasets / name), "options": {"alpha": float(width)}}
        return _with_features(f"weights in {datasets}/", backbone)
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    if (home / "models" / _MOBILENET.format(alpha="1.0")).is_file():
        return _with_features("weights in Keras' cache", {})
    if _can_download():
        return _with_features("weights downloaded by Keras, 9 MB", {})
    return Choice(
        "images_from_scratch",
        "HOG + logistic regression, and MiniVGGNet trained from scratch.\n"
        "No ImageNet weights in datasets/, none to download: with them the accuracy is higher "
        "(docs/images.md)",
    )


def source_overrides(recognized: Layout, choice: Choice) -> list[str]:
    """Return the Hydra overrides that run a recipe on images; any path is safe in them."""
    source = {"kind": recognized.kind, "path": str(recognized.path), **recognized.settings}
    return [
        f"recipe={choice.recipe}",
        *(f"++ingest.source.{key}={quoted(value)}" for key, value in source.items()),
        f"ingest.split={recognized.split}",
        *(f"extractors.mobilenet_v2.{key}={word(value)}" for key, value in choice.backbone.items()),
    ]


def _with_features(weights: str, backbone: Mapping[str, Any]) -> Choice:
    return Choice("images", f"MobileNetV2 features ({weights}) + logistic regression", backbone)


def _can_download() -> bool:
    request = urllib.request.Request(_WEIGHTS_URL + _MOBILENET.format(alpha="1.0"), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=5):
            return True
    except OSError:
        return False
