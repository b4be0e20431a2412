"""Forward passes from several threads."""

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

# Two, so that one batch is copied and prepared while the other is computed: on two cores MobileNetV2 takes a
# tenth more images a second than one by one. More would hold more activations and gain nothing.
_PAIR = threading.BoundedSemaphore(2)
# Under JAX and PyTorch, Keras keeps the state of a pass in the model.
_ONE = threading.Lock()


def forward(model: "keras.Model", rows: NDArray[Any]) -> NDArray[np.float32]:
    """The model's outputs float32 for a batch. Threads may call it at once."""
    import keras

    with _PAIR if keras.backend.backend() == "tensorflow" else _ONE:
        return np.asarray(model.predict_on_batch(rows), np.float32)
