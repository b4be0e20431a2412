"""The decisions that promotions have taken on test images, kept in the registry.

Each decision uses the test images up a little: of many challengers that are no better, one looks better by
chance. So the gate counts the decisions and asks for more evidence at each
(`stages/scoring/promotion.level_of`). The registered model has a tag `decisions.SET` for each set of images
that decisions were taken on: their number, and the run whose artifact `judged.bin` lists the images. Tags of
the model outlive its versions and runs.
"""

import contextlib
import math
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np

from stages.common.errors import StoreError
from stages.data import image_set
from stages.data.image_set import ImageSet
from stages.serving.registry import Registry

_TAG = "decisions."
_FILE = "judged.bin"


def decisions(registry: Registry, images: ImageSet) -> int:
    """The number of decisions that an image of the set has taken part in, on average, rounded up.

    With images that no decision was taken on the number falls: a test split whose images have all been
    replaced is a new one. A set whose list is lost, because its run was deleted, counts as if it held all of
    the images.
    """
    if not len(images):
        # All test images were seen by a model: nothing can be decided on them.
        return 0
    return _count(registry, images, partial(_shared, registry, images))


def _count(registry: Registry, images: ImageSet, share_of: Callable[[str], float]) -> int:
    """Count decisions; `share_of` says which share of the images is in the set that a run lists."""
    name = image_set.digest(images)
    total = 0.0
    for key, value in _tags(registry).items():
        if key.startswith(_TAG):
            number, _, run_id = value.partition(" ")
            total += int(number) * (1.0 if key == _TAG + name else share_of(run_id))
    return math.ceil(total - 1e-9)


def take(registry: Registry, images: ImageSet, run_id: str) -> int:
    """Count a decision on these images before it is taken, so that one that fails counts as well.

    Args:
        registry: Of the model, which has a version.
        images: The images that champion and challenger are judged on.
        run_id: The run that the list of the images is logged to.

    Returns:
        The number of this decision on these images, from 1.

    Raises:
        ServingError: As `Lease.held`.
    """
    key = _TAG + image_set.digest(images)
    # Before the lease: lists of earlier sets never change, and downloading hundreds of them may take longer
    # than it lasts. Two promotions would then be given one number.
    share_of = cache(partial(_shared, registry, images))
    _count(registry, images, share_of)
    with registry.lease.held():
        number = _count(registry, images, share_of) + 1
        count, _, holder = _tags(registry).get(key, "0 ").partition(" ")
        if not holder:
            with tempfile.TemporaryDirectory() as folder:
                image_set.write(Path(folder) / _FILE, images)
                registry.client.log_artifact(run_id, str(Path(folder) / _FILE))
        registry.client.set_registered_model_tag(registry.name, key, f"{int(count) + 1} {holder or run_id}")
    return number


def _tags(registry: Registry) -> dict[str, str]:
    """The tags of the model; none where no version is registered yet."""
    from mlflow.exceptions import MlflowException

    try:
        return dict(registry.client.get_registered_model(registry.name).tags)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise


def _shared(registry: Registry, images: ImageSet, run_id: str) -> float:
    """The share of the images that are in the set which a run lists."""
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException, OSError, StoreError), tempfile.TemporaryDirectory() as folder:
        listed = image_set.read(Path(registry.client.download_artifacts(run_id, _FILE, folder)))
        return float(np.isin(images, listed).mean())
    return 1.0
