"""What each option of a training does to the training, as a user sees it."""

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from stages.common import keras_import
from stages.common.errors import LearnerError
from stages.common.history import History
from stages.data.store import Reader
from stages.models.learners import cnn
from stages.models.training import computing, regularization
from tests.networks import fitted, optimizer, params

KINDS = sorted(path.stem for path in (Path(__file__).parents[3] / "conf/optimizer").glob("*.yaml"))


def trained(packed: Any, **changes: Any) -> tuple[cnn.Network, History]:
    network, history, _ = fitted(packed.packed, **changes)
    return network, history


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "base"])
def test_every_optimizer_learns(kind: str, packed: Any) -> None:
    _, history = trained(packed, optimizer=optimizer(kind, global_clipnorm=1.0))
    assert history["loss"][-1] < history["loss"][0]


def test_segments_state_the_first_rate_once() -> None:
    segments = {"kind": "segments", "segments": [{"until_epoch": 9, "learning_rate": 0.1}]}
    with pytest.raises(
        ValidationError, match=r"learning_rate is 0.01; must be that of the first segment, 0.1"
    ):
        params(optimizer=optimizer("sgd", schedule=segments))
    params(optimizer=optimizer("sgd", learning_rate=0.1, schedule=segments))


def test_a_training_may_be_so_many_steps_and_ends_within_an_epoch(packed: Any) -> None:
    network, history = trained(packed, train={"epochs": None, "steps": 7})
    assert network._model is not None
    assert int(network._model.optimizer.iterations) == 7
    # Five batches of eight in an epoch.
    assert history["epoch"] == [1.0, 2.0]


def test_epochs_and_steps_are_one_of_the_two() -> None:
    for options in ({"steps": 7}, {"epochs": None}):
        with pytest.raises(ValidationError, match="either epochs or steps"):
            params(train=options)


@pytest.mark.parametrize(
    "schedule",
    [
        {
            "kind": "segments",
            "segments": [
                {"until_epoch": 2, "learning_rate": 0.01},
                {"until_epoch": 4, "learning_rate": 0.001},
            ],
        },
        {"kind": "step", "factor": 0.1, "every": {"epochs": 2}},
    ],
    ids=lambda schedule: str(schedule["kind"]),
)
def test_the_history_has_the_rate_that_an_epoch_was_trained_with(
    schedule: dict[str, Any], packed: Any
) -> None:
    _, history = trained(packed, optimizer=optimizer("sgd", schedule=schedule), train={"epochs": 4})
    assert history["learning_rate"] == pytest.approx([0.01, 0.01, 0.001, 0.001])


def test_a_plateau_lowers_the_rate_of_the_epochs_after_it(packed: Any) -> None:
    stuck = optimizer("sgd", learning_rate=1e-9, schedule={"kind": "plateau", "factor": 0.5, "patience": 2})
    # The few val images have the same share right in each epoch.
    _, history = trained(packed, optimizer=stuck, train={"epochs": 6, "monitor": "val_accuracy"})
    assert history["learning_rate"] == pytest.approx([1e-9] * 3 + [5e-10] * 2 + [2.5e-10])


def test_early_stopping_ends_a_training_that_does_not_improve(packed: Any) -> None:
    stuck = {"epochs": 20, "early_stopping": {"patience": 2, "min_delta": 0.01}}
    _, history = trained(packed, optimizer=optimizer("sgd", learning_rate=1e-9), train=stuck)
    assert len(history["epoch"]) == 3


@pytest.mark.parametrize("ema", [None, 0.5])
def test_the_best_epochs_weights_are_kept(packed: Any, ema: float | None) -> None:
    """A rate that grows until it harms: the best epoch is not the last."""
    segments = [{"until_epoch": 2, "learning_rate": 0.01}, {"until_epoch": 6, "learning_rate": 30.0}]
    harmful = optimizer(
        "sgd",
        momentum=0.0,
        nesterov=False,
        ema_momentum=ema,
        schedule={"kind": "segments", "segments": segments},
    )
    network, history = trained(packed, optimizer=harmful, train={"epochs": 5, "keep": "best"})
    best = int(np.argmin(history["val_loss"]))
    assert best < 4
    # Keras takes no probability for larger than 1 - 1e-7.
    assert val_loss(network, packed) == pytest.approx(history["val_loss"][best], rel=1e-4, abs=2e-7)


def test_the_average_of_the_weights_is_what_is_validated_and_kept(packed: Any) -> None:
    averaged, history = trained(packed, optimizer=optimizer("sgd", ema_momentum=0.9))
    plain, _ = trained(packed)
    assert val_loss(averaged, packed) == pytest.approx(history["val_loss"][-1], rel=1e-3)
    assert val_loss(averaged, packed) != pytest.approx(val_loss(plain, packed), rel=1e-3)


def val_loss(network: cnn.Network, packed: Any) -> float:
    with Reader(packed.packed / "val.h5") as val:
        chances = network.predict_proba(val.read(0, len(val)))
        return float(-np.log(chances[np.arange(len(val)), val.column("labels")]).mean())


def test_l2_adds_the_squares_of_the_kernels_to_the_loss(packed: Any) -> None:
    still = optimizer("sgd", learning_rate=1e-12)
    network, with_l2 = trained(packed, optimizer=still, train={"epochs": 1, "l2": 0.01})
    _, without = trained(packed, optimizer=still, train={"epochs": 1})
    assert network._model is not None
    kernels = [np.asarray(weight) for weight in network._model.weights if "kernel" in weight.name]
    squares = sum(float((kernel**2).sum()) for kernel in kernels)
    assert len(kernels) == 2
    assert with_l2["loss"][0] - without["loss"][0] == pytest.approx(0.01 * squares, rel=1e-3)


def test_label_smoothing_raises_the_least_loss_there_is(packed: Any) -> None:
    _, history = trained(packed, train={"epochs": 10, "label_smoothing": 0.3})
    least = -(0.8 * math.log(0.8) + 2 * 0.1 * math.log(0.1))
    assert history["accuracy"][-1] == 1.0
    assert min(history["loss"]) > least


def test_class_weights_even_out_the_classes_and_leave_the_mean_loss() -> None:
    labels = np.array([0] * 6 + [1] * 2 + [2] * 4)
    weights = regularization.class_weights(labels, 3)
    assert weights.tolist() == pytest.approx([12 / 18, 2.0, 1.0])
    assert np.mean([weights[label] for label in labels]) == pytest.approx(1)


def test_class_weights_count_in_the_loss(packed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regularization, "class_weights", lambda *_: np.zeros(3, np.float32))
    _, history = trained(packed, train={"epochs": 1, "class_weights": "balanced"})
    assert history["loss"] == [0.0]
    assert history["val_loss"][0] > 0


def test_classes_are_evened_out_in_one_way() -> None:
    with pytest.raises(ValidationError, match="choose one"):
        params(train={"balanced": True, "class_weights": "balanced"})


def test_bfloat16_trains_with_weights_in_32_bits_or_says_why_not(packed: Any) -> None:
    if computing._refused("bfloat16"):
        with pytest.raises(LearnerError, match=r"train.precision is bfloat16; this CPU has no instructions"):
            trained(packed, train={"precision": "bfloat16"})
        return
    network, history = trained(packed, train={"precision": "bfloat16"})
    assert history["val_accuracy"][-1] > 0.9
    assert network._model is not None
    assert {weight.dtype for weight in network._model.trainable_weights} == {"float32"}
    assert {layer.compute_dtype for layer in network._model.layers[2:-1]} == {"bfloat16"}
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.skipif(bool(keras_import.gpus()), reason="there is a GPU, which takes float16")
def test_float16_is_refused_where_there_is_no_gpu(packed: Any) -> None:
    with pytest.raises(LearnerError, match=r"train.precision is float16; it needs a GPU"):
        trained(packed, train={"precision": "float16"})


@pytest.mark.parametrize("xla", [True, False])
def test_xla_can_be_chosen(packed: Any, xla: bool) -> None:
    network, history = trained(packed, train={"epochs": 1, "xla": xla})
    assert network._model is not None
    assert network._model.jit_compile is xla
    assert len(history["loss"]) == 1


def test_with_every_option_at_once_a_loss_that_is_no_number_still_stops(packed: Any) -> None:
    wild = optimizer("sgd", learning_rate=1e30, ema_momentum=0.9, schedule="plateau")
    everything = {
        "l2": 0.01,
        "label_smoothing": 0.1,
        "class_weights": "balanced",
        "early_stopping": {"patience": 3, "min_delta": 0.0},
        "keep": "best",
    }
    with pytest.raises(LearnerError, match=r"the loss became (nan|inf) in epoch 1, step \d; lower optimizer"):
        trained(packed, optimizer=wild, train=everything)


@pytest.mark.parametrize("smoothing", [0.0, 0.1], ids=["labels", "shares of labels"])
def test_top5_accuracy_is_measured_in_each_epoch_on_request(packed: Any, smoothing: float) -> None:
    """Of three classes the label is always among the first five (Practitioner Bundle ch. 4)."""
    train = {"epochs": 2, "label_smoothing": smoothing}
    _, history = trained(packed, train=train | {"top5_accuracy": True})
    assert history["top5_accuracy"] == history["val_top5_accuracy"] == [1.0, 1.0]
    _, plain = trained(packed, train=train)
    assert "top5_accuracy" not in plain
    assert plain["val_loss"] == history["val_loss"]
