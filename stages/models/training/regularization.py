"""Regularization besides the optimizer's: L2 penalties and class weights."""

import keras
import numpy as np
from numpy.typing import NDArray


def penalize(model: keras.Model, l2: float) -> None:
    """Add `l2` x the sum of squares of each kernel to the loss; kernels with a penalty of their own keep it.

    The penalty is set on the weights. A layer's regularizer counts only while the layer is built, and would
    be part of the saved network.
    """
    for weight in model.weights:
        if "kernel" in weight.name and weight.regularizer is None:
            weight.regularizer = keras.regularizers.L2(l2)


def class_weights(labels: NDArray[np.integer], classes: int) -> NDArray[np.float32]:
    """Images / (classes x images of the class), float32 (K,); 1 on average over the images.

    So the learning rate means the same with and without them.

    Args:
        labels: class indices (N,) of the train split.
        classes: their number.
    """
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (classes * np.maximum(counts, 1)), np.float32)
