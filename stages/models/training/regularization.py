"""What keeps a network from learning its train split by heart, as far as it is not the optimizer's."""

import keras
import numpy as np
from numpy.typing import NDArray


def penalize(model: keras.Model, l2: float) -> None:
    """Add `l2` x the sum of squares of each kernel to the loss; kernels with a penalty of their own keep it.

    Set on the weights and not on the layers, whose regularizers count only when they are built; so the
    saved network knows nothing of it.
    """
    for weight in model.weights:
        if "kernel" in weight.name and weight.regularizer is None:
            weight.regularizer = keras.regularizers.L2(l2)


def class_weights(labels: NDArray[np.integer], classes: int) -> dict[int, float]:
    """Of each class, images / (classes x its images), from the train split's labels (N,).

    On average over the images they are 1, so that the learning rate means the same as without.
    """
    counts = np.bincount(labels, minlength=classes)
    return {label: len(labels) / (classes * max(int(count), 1)) for label, count in enumerate(counts)}
