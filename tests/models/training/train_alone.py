"""Trains one network as one rank or alone: `python -m tests.models.training.train_alone CASE PACKED FOLDER`.

The backend and the devices are those of the environment. Writes history.json and weights.npz into FOLDER, if
this process is rank 0.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from stages.common import launcher, log, ranks
from stages.common.files import write_json
from stages.data.store import Reader
from stages.models import learners
from stages.models.learners import cnn, fine_tuning
from stages.models.protocols import LearnerParams
from tests.networks import defaults, optimizer
from tests.paths import ROOT

if TYPE_CHECKING:
    import keras

_AUGMENT = {"shift": 0.2, "horizontal_flip": True, "elastic": 0.02, "brightness": 0.2, "cutout": 0.2}


def params(case: str) -> LearnerParams:
    """LeNet; MiniVGGNet with all that has a state or is random; a network fine-tuned in two phases."""
    members = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"]
    base = yaml.safe_load((ROOT / "conf/augment/base.yaml").read_text())
    train = {"epochs": 3, "batch_size": 10, "seed": 1}
    if case == "lenet":
        return cnn.Params.model_validate(_changed(members["lenet"], {}, train))
    if case == "minivggnet":
        values = members["minivggnet"] | {"augment": base | _AUGMENT}
        # Batch normalization over few images amplifies rounding. At a rate of 0.01, batches of ten make 1e-7
        # of the first step 1e-4 of the second; at this one, 10 and 6 make 8e-5 of it in three epochs.
        values["optimizer"] = optimizer(
            "sgd", learning_rate=0.0001, ema_momentum=0.9, schedule={"kind": "plateau", "patience": 1}
        )
        rest = {"class_weights": "balanced", "keep": "best", "l2": 0.001}
        return cnn.Params.model_validate(_changed(values, {}, train | {"batch_size": 24} | rest))
    values = defaults("fine_tuning")
    for phase in ("warm_up", "fine_tune"):
        values[phase]["epochs"] = 2
    return fine_tuning.Params.model_validate(_changed(values, {}, {"batch_size": 10, "seed": 1}))


def tiny_backbone(
    params: fine_tuning.Params, shape: tuple[int, ...], classes: int
) -> "tuple[keras.Model, list[keras.Layer]]":
    """In the place of `fine_tuning.build`: JAX takes 100 s to compile MobileNetV2."""
    import keras

    kl = keras.layers
    pixels = keras.Input(shape, dtype="uint8")
    x = kl.Rescaling(1 / 255)(pixels)
    body = [kl.Conv2D(4, 3, strides=2, activation="relu"), kl.BatchNormalization(), kl.Conv2D(8, 3)]
    for layer in body:
        x = layer(x)
        layer.trainable = False
    x = kl.Dropout(0.5)(kl.GlobalAveragePooling2D()(x))
    return keras.Model(pixels, kl.Dense(classes, activation="softmax")(x)), body


def _changed(values: dict[str, Any], changes: dict[str, Any], train: dict[str, Any]) -> dict[str, Any]:
    return values | changes | {"train": values["train"] | {"deterministic": True} | train}


def main(case: str, packed: Path, folder: Path) -> None:
    """Train and write."""
    launcher.relaunch()
    log.configure("train")
    if ranks.read().count > 1:
        log.name_rank(ranks.read().rank)
    fine_tuning.build = tiny_backbone
    learner: Any = learners.create(params(case))
    with Reader(packed / "train.h5") as train, Reader(packed / "val.h5") as val:
        reported: list[dict[str, float]] = []
        history = learner.fit(train, val, lambda _, values: reported.append(dict(values)))
        if ranks.is_first():
            learner.save(folder)
            write_json(folder / "reported.json", reported)
            write_json(folder / "history.json", history)
            predicted = learner.predict_proba(val.read(0, len(val)))
            weights = learner._model.get_weights()
            np.savez(folder / "weights.npz", *weights, predicted=predicted)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
