"""The images that a member has seen, by which a promotion tells those that are new to it.

A member that continues an earlier training (`start_from`) has seen that one's images as well, whatever the
splits are now.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from stages.common.errors import ParamsError, ServingError
from stages.data import image_set, store
from stages.data.image_set import ImageSet

FILE = "seen.bin"
# Fitting sees train; early stopping, calibration, the ensemble's weights and sweeps see val. No weights are
# fitted to train-val, but a person who acts on the diagnosis chooses by it: counted as new, its images would
# flatter the model once a later split tests on them.
_SEEN_SPLITS = ("train", "val", "train_val")


def of_training(data: Path, origin: Path | None) -> ImageSet:
    """The images that a training sees, and those that the training it continues has seen.

    Args:
        data: Folder of train.h5, val.h5, test.h5 and perhaps train_val.h5.
        origin: The file that the training starts from: a member's network or a checkpoint of an epoch; None
            for a training from the start.

    Raises:
        ParamsError: The origin does not say what it has seen, or it has seen images of the test split: the
            accuracy on them would say nothing.
    """
    seen = _union(_ids(file) for split in _SEEN_SPLITS if (file := data / f"{split}.h5").exists())
    # A file that is not there is refused where it is read.
    if origin is None or not origin.is_file():
        return seen
    before = _of_origin(origin)
    test = _ids(data / "test.h5")
    if count := int(np.isin(test, before).sum()):
        raise ParamsError(
            f"start_from: {origin} was trained on {count} of the {len(test)} images of the test split, so "
            "its accuracy there would say nothing; keep the images and the split_seed of its training, or "
            "leave start_from out"
        )
    return np.union1d(seen, before)


def of_members(folders: Iterable[Path]) -> ImageSet:
    """The images that any of these members (`models/NAME`) has seen.

    Raises:
        ServingError: A member does not say what it has seen.
    """
    files = [folder / FILE for folder in folders]
    for file in files:
        if not file.exists():
            raise ServingError(f"{file} is missing: an older version trained the member; run train again")
    return _union(image_set.read(file) for file in files)


def _of_origin(origin: Path) -> ImageSet:
    # A checkpoint of a member is in a folder of the member's.
    files = [folder / FILE for folder in (origin.parent, origin.parent.parent)]
    for file in files:
        if file.exists():
            return image_set.read(file)
    raise ParamsError(
        f"start_from: {files[0]} is missing, which lists the images that {origin.name} was trained on; copy "
        "it from models/NAME, or train the member again if an older version has trained it"
    )


def _ids(file: Path) -> ImageSet:
    with store.Reader(file) as rows:
        return image_set.of_ids(rows.ids.tolist())


def _union(sets: Iterable[ImageSet]) -> ImageSet:
    return np.unique(np.concatenate(list(sets)))
