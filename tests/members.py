"""A fitted classifier as `train` leaves it, without its run."""

from pathlib import Path

from stages.common.files import write_json
from stages.data import image_set, store
from stages.models import learners, seen_images
from stages.models.learners import logistic_regression


def logistic_params() -> logistic_regression.Params:
    """A logistic regression on features of pixels that takes a fraction of a second to fit."""
    return logistic_regression.Params(
        kind="logistic_regression",
        code="stages/models/learners/logistic_regression.py",
        input="features/pixels",
        normalize="standardize",
        c=[0.1],
        folds=2,
        max_iter=1000,
        seed=1,
    )


def fitted(features: Path, folder: Path) -> Path:
    """Fit a logistic regression on a folder of features, and save it; returns its folder."""
    folder.mkdir(exist_ok=True)
    learner = learners.create(logistic_params())
    with store.Reader(features / "train.h5") as train, store.Reader(features / "val.h5") as val:
        learner.fit(train, val, lambda *_: None)
    learner.save(folder)
    write_json(folder / learners.SPEC, {"kind": "logistic_regression"})
    image_set.write(folder / seen_images.FILE, seen_images.of_training(features, None))
    return folder
