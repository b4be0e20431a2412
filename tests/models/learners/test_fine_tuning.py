"""Fine-tuning: what is frozen when, what the history says, and what is refused."""

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from stages.common.errors import LearnerError, ParamsError
from stages.common.files import digest, write_json
from stages.data.store import Reader
from stages.models import learners
from stages.models.learners import fine_tuning
from tests.networks import defaults, optimizer

SHAPE = (32, 32, 3)


def params(**changes: Any) -> fine_tuning.Params:
    """The defaults with a small network of random weights, one epoch each; dotted keys are `a__b`."""
    values = defaults("fine_tuning")
    values["body"] |= {"weights": None, "options": {"alpha": 0.35}}
    values["head"]["hidden"] = [8]
    values["train"] |= {"batch_size": 12, "seed": 1}
    for phase in ("warm_up", "fine_tune"):
        values[phase]["epochs"] = 1
    for key, value in changes.items():
        section, _, name = key.partition("__")
        values[section][name] = value
    return fine_tuning.Params.model_validate(values)


def test_the_books_head_on_vgg16_has_the_books_number_of_weights() -> None:
    """Practitioner Bundle ch. 5: 21,141,841 in all; 6,427,153 trained at first, 13,506,577 then."""
    vgg = {"body__backbone": "VGG16", "body__options": {}}
    chosen = params(head__pooling="flatten", head__hidden=[256], **vgg)
    model, body = fine_tuning.build(chosen, (224, 224, 3), 17)
    assert model.count_params() == 21_141_841
    assert trained(model) == 6_427_153
    for layer in fine_tuning.last_layers(body, "block5_conv1"):
        layer.trainable = True
    assert trained(model) == 13_506_577


def trained(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_a_share_is_of_the_layers_with_weights_and_batch_normalization_stays() -> None:
    _, body = fine_tuning.build(params(), SHAPE, 3)
    everything = fine_tuning.last_layers(body, 1.0)
    assert len(everything) == sum(not isinstance(layer, keras.layers.BatchNormalization) for layer in body)
    assert fine_tuning.last_layers(body, 0.25) == everything[-len(fine_tuning.last_layers(body, 0.25)) :]
    assert [layer.name for layer in fine_tuning.last_layers(body, "Conv_1")] == ["Conv_1"]


@pytest.mark.slow
@pytest.mark.usefixtures("operation_by_operation")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")
def test_the_body_is_frozen_at_first_and_its_end_learns_then(
    packed_larger: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[tuple[int, float]] = []
    # Adam, whose steps are as long for features of random weights, which are tiny.
    adam = optimizer("adam")
    chosen = params(fine_tune__unfreeze="block_16_project", fine_tune__epochs=2, fine_tune__optimizer=adam)
    learner = fine_tuning.create(chosen)
    keras.utils.set_random_seed(chosen.train.seed)
    before, _ = fine_tuning.build(chosen, SHAPE, 3)
    with (
        Reader(packed_larger / "train.h5") as train,
        Reader(packed_larger / "val.h5") as val,
        caplog.at_level(logging.INFO, logger="convoy"),
    ):
        history = learner.fit(train, val, lambda number, values: reported.append((number, values["phase"])))
        images = val.read(0, 4)
    assert reported == [(1, 1.0), (2, 2.0), (3, 2.0)]
    assert history["epoch"] == [1.0, 2.0, 3.0]
    assert history["phase"] == [1.0, 2.0, 2.0]
    assert {len(series) for series in history.values()} == {3}
    phases = [record.fields for record in caplog.records if record.getMessage() == "started_phase"]  # type: ignore[attr-defined]
    assert [phase["number"] for phase in phases] == [1, 2]
    assert phases[0]["trainable_weights"] < phases[1]["trainable_weights"]

    # The same seed built the same network: what differs has been trained.
    assert learner._model is not None
    changed = {
        layer.name
        for layer, other in zip(learner._model.layers, before.layers, strict=True)
        for values, originals in zip(layer.get_weights(), other.get_weights(), strict=True)
        if not np.array_equal(values, originals)
    }
    assert changed == {"block_16_project", "Conv_1", "head_1", "head"}

    learner.save(tmp_path)
    write_json(tmp_path / "spec.json", {"kind": "fine_tuning"})
    probabilities = learners.load(tmp_path).predict_proba(images)
    np.testing.assert_allclose(probabilities, learner.predict_proba(images), atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("operation_by_operation")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")
def test_without_fine_tuning_the_head_alone_learns(packed_larger: Path) -> None:
    chosen = fine_tuning.Params.model_validate(params().model_dump() | {"fine_tune": None})
    learner = fine_tuning.create(chosen)
    keras.utils.set_random_seed(chosen.train.seed)
    before, body = fine_tuning.build(chosen, SHAPE, 3)
    with Reader(packed_larger / "train.h5") as train, Reader(packed_larger / "val.h5") as val:
        history = learner.fit(train, val, lambda *_: None)
    assert set(history["phase"]) == {1.0}
    assert learner._model is not None
    for layer in body:
        for values, originals in zip(
            learner._model.get_layer(layer.name).get_weights(),
            before.get_layer(layer.name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(values, originals)


@pytest.fixture(scope="module")
def packed_larger(packed: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared images at 32x32, the smallest that networks of keras.applications take."""
    from dataclasses import replace

    folder = tmp_path_factory.mktemp("larger")
    project = replace(packed, root=folder)
    project.ingest()
    project.resize(size=[32, 32])
    project.mean()
    project.pack()
    return project.packed


def test_a_layer_that_is_not_there_is_refused_with_some_that_are() -> None:
    _, body = fine_tuning.build(params(), SHAPE, 3)
    with pytest.raises(
        LearnerError, match=r"is 'block_16_projct'; no layer .* similar names: block_16_project"
    ):
        fine_tuning.last_layers(body, "block_16_projct")


@pytest.mark.parametrize("unfreeze", [0.001, "Conv_1_bn"])
def test_batch_normalization_alone_is_nothing_to_fine_tune(unfreeze: str | float) -> None:
    """The second phase trained the head on, without a word."""
    _, body = fine_tuning.build(params(), SHAPE, 3)
    with pytest.raises(LearnerError, match="more than batch normalization, which does not learn: Conv_1_bn"):
        fine_tuning.last_layers(body, unfreeze)


def test_weights_of_a_file_are_checked(tmp_path: Path) -> None:
    model, _ = fine_tuning.build(params(), SHAPE, 3)
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=SHAPE, alpha=0.35)
    file = tmp_path / "body.weights.h5"
    network.save_weights(file)
    again, _ = fine_tuning.build(params(body__weights=str(file), body__sha256=digest(file)), SHAPE, 3)
    read, written = (model.get_layer("Conv1").get_weights()[0] for model in (again, network))
    np.testing.assert_array_equal(read, written)
    assert model.count_params() == again.count_params()
    with pytest.raises(ParamsError, match=rf"have sha256 {digest(file)}; the params state 0{{64}}"):
        fine_tuning.build(params(body__weights=str(file), body__sha256="0" * 64), SHAPE, 3)
    with pytest.raises(ParamsError, match=r"nowhere\.h5"):
        fine_tuning.build(params(body__weights=str(tmp_path / "nowhere.h5")), SHAPE, 3)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fine_tune__unfreeze", 0.0, "greater than 0"),
        ("fine_tune__unfreeze", 1.5, "less than or equal to 1"),
        ("head__pooling", "sum", "'avg', 'max' or 'flatten'"),
        ("warm_up__epochs", 0, "greater than 0"),
    ],
)
def test_params_out_of_range_are_refused(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        params(**{key: value})
