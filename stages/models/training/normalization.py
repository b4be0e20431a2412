"""Batch normalization by TensorFlow's fused operation, where TensorFlow trains on a CPU.

Keras 3 computes the moments, and then scales and shifts, in operations of their own. TensorFlow has all of it
as one operation and one gradient, which oneDNN computes together with a ReLU behind it. Trainings are 1.1 to
1.9 times as fast in float32, and 1.6 to 2.5 times in bfloat16: `python -m benchmarks.bench_normalization`,
table in docs/speed.md. Under XLA, which Keras chooses on a GPU, the layers stay as they are: that was not
measured.
"""

from types import MethodType
from typing import Any

import keras

from stages.common import keras_import


def fuse(model: keras.Model) -> None:
    """Let a compiled network's batch normalizations train by the fused operation; elsewhere nothing changes.

    The layers stay Keras' own, and so does the saved network; only their `call` is replaced in this process.
    A subclass would be plainer, but every program that loads the network would need it.

    Args:
        model: compiled; its feature maps are (N, H, W, C).
    """
    if keras.backend.backend() != "tensorflow" or model.jit_compile or keras_import.gpus():
        return
    for layer in _batch_normalizations(model):
        if layer.axis in (-1, 3) and layer.scale and layer.center and not layer.renorm:
            layer.call = MethodType(_call, layer)


def _batch_normalizations(model: keras.Model) -> list[Any]:
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    own = [layer for layer in model.layers if type(layer) is keras.layers.BatchNormalization]
    return own + [layer for inner in nested for layer in _batch_normalizations(inner)]


def _call(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """As Keras' BatchNormalization, with the same moving averages."""
    if not training or not layer.trainable or len(inputs.shape) != 4:
        return keras.layers.BatchNormalization.call(layer, inputs, training=training, mask=mask)
    import tensorflow as tf

    # Of bfloat16 maps, too, it computes in float32, as Keras does. oneDNN has fast kernels for multiples of
    # 16 channels in bfloat16, and of 8 in float32 where a ReLU follows. By its general kernel, a step of
    # resnet_cifar10_exp1 took 1.8 s instead of 0.3 s in bfloat16, and 0.38 s instead of 0.31 s in float32.
    channels = inputs.shape[-1]
    x = tf.cast(inputs, tf.float32) if channels % 16 else inputs
    scale, offset = (tf.cast(value, tf.float32) for value in (layer.gamma, layer.beta))
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=offset, mean=[], variance=[], epsilon=layer.epsilon
    )
    # The operation divides the squares by n - 1, Keras by n.
    n = tf.cast(tf.reduce_prod(tf.shape(x, tf.int64)[:-1]), tf.float32)
    biased = variance * (n - 1) / n
    for average, value in ((layer.moving_mean, mean), (layer.moving_variance, biased)):
        average.assign(average * layer.momentum + value * (1 - layer.momentum))
    if channels % 8:
        # Free of cost; TensorFlow would join a ReLU that follows directly.
        y = tf.ensure_shape(y, x.shape)
    return tf.cast(y, layer.compute_dtype)
