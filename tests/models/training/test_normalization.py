"""Batch normalization by TensorFlow's fused operation trains what Keras' own trains."""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from stages.models.training import normalization
from tests.networks import fitted

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Only TensorFlow has the fused operation"
)


def network(precision: str = "float32", xla: bool = False, channels: int = 6) -> keras.Model:
    """Batch normalization of feature maps, also of a network within, and of vectors."""
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(precision)
    try:
        maps = keras.Input((None, None, channels))
        inner = keras.Model(maps, keras.layers.BatchNormalization(momentum=0.9)(maps))
        image = keras.Input((8, 8, 3))
        x = keras.layers.BatchNormalization(epsilon=2e-5, name="maps")(
            keras.layers.Conv2D(channels, 3)(image)
        )
        x = keras.layers.Flatten()(inner(keras.layers.ReLU()(x)))
        x = keras.layers.BatchNormalization()(keras.layers.Dense(4)(x))
        model = keras.Model(image, keras.layers.Dense(2, activation="softmax", dtype="float32")(x))
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", jit_compile=xla)
    return model


def fused_operations(model: keras.Model, training: bool) -> int:
    """How many there are in the network's graph."""
    import tensorflow as tf

    graph = tf.function(lambda images: model(images, training=training)).get_concrete_function(
        tf.zeros((4, 8, 8, 3))
    )
    return sum(operation.type == "FusedBatchNormV3" for operation in graph.graph.get_operations())


def optimized_operations(model: keras.Model) -> set[str]:
    """Those of a training step, after the optimizations of its graph."""
    from tensorflow.python.eager import context

    side, channels = model.input_shape[-2:]
    context.context().enable_graph_collection()
    try:
        model.train_on_batch(np.zeros((4, side, side, channels)), np.zeros((4, channels)))
        graphs = context.context().export_run_metadata().partition_graphs
    finally:
        context.context().disable_graph_collection()
    return {node.op for graph in graphs for node in graph.node}


def trained_weights(model: keras.Model) -> Any:
    # n and n - 1 differ most in the last batch.
    random = np.random.default_rng(0)
    for count in (16, 16, 2):
        images = random.normal(2, 3, (count, 8, 8, 3)).astype(np.float32)
        model.train_on_batch(images, random.integers(0, 2, count))
    return model.get_weights()


@pytest.mark.parametrize("channels", [6, 16])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.02)])
def test_weights_and_moving_averages_are_those_of_keras(
    precision: str, tolerance: float, channels: int
) -> None:
    fused, own = (network(precision, channels=channels) for _ in range(2))
    normalization.fuse(fused)
    for ours, keras_own in zip(trained_weights(fused), trained_weights(own), strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=tolerance, atol=tolerance)


def test_layers_of_maps_are_fused_where_they_train() -> None:
    model = network()
    assert fused_operations(model, training=True) == 0
    normalization.fuse(model)
    assert fused_operations(model, training=True) == 2
    assert fused_operations(model, training=False) == 0
    model.get_layer("maps").trainable = False
    assert fused_operations(model, training=True) == 1


@pytest.mark.parametrize(("channels", "joined"), [(4, False), (8, True), (12, False), (16, True)])
def test_a_relu_is_joined_where_onednn_is_fast_at_it(channels: int, joined: bool) -> None:
    image = keras.Input((8, 8, channels))
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(image))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    model.compile("sgd", "mse", jit_compile=False)
    normalization.fuse(model)
    operations = {
        name for name in optimized_operations(model) if "FusedBatchNorm" in name and "Grad" not in name
    }
    assert len(operations) == 1
    with_relu = joined and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"
    assert any(name.endswith("FusedBatchNormEx") for name in operations) == with_relu


def test_under_xla_the_layers_stay_keras_own() -> None:
    model = network(xla=True)
    normalization.fuse(model)
    assert fused_operations(model, training=True) == 0


def test_a_saved_network_has_keras_layers_only(tmp_path: Path) -> None:
    model = network()
    normalization.fuse(model)
    weights = trained_weights(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("maps")) is keras.layers.BatchNormalization
    assert "call" not in vars(loaded.get_layer("maps"))
    np.testing.assert_array_equal(loaded.get_weights()[2], weights[2])


def test_a_training_is_fused(packed: Any) -> None:
    trained, _, _ = fitted(packed.packed, network="minivggnet", code="stages/models/networks/minivggnet.py")
    assert trained._model is not None
    layers = [layer for layer in trained._model.layers if type(layer) is keras.layers.BatchNormalization]
    assert layers
    assert all("call" in vars(layer) for layer in layers)
