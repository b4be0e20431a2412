"""Export of a saved network to formats that other programs run, compared with Keras on the same images."""

import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from stages.common.errors import ServingError
from stages.common.keras_import import import_keras

if TYPE_CHECKING:
    import keras

Format = Literal["onnx", "saved_model"]
# The largest difference from Keras' probabilities that an exported network may have.
TOLERANCE = 1e-4
# Of noise, which reaches every filter; a few real images may not.
_IMAGES = 8


def export(file: Path, to: Path, kind: Format) -> float:
    """Write the network saved in `file` to `to`: uint8 images (N, H, W, C) → class probabilities (N, K).

    Returns:
        The largest difference from Keras' probabilities.

    Raises:
        ServingError: that difference is above TOLERANCE, the format lacks an operation of the network, a
            package of the extra `export` is missing, or the backend has no such format.
    """
    import_keras()
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ServingError(
            f"{kind} is exported with TensorFlow as Keras' backend; it is {keras.backend.backend()}"
        )
    model = keras.saving.load_model(file, safe_mode=True)
    assert isinstance(model, keras.Model)
    shape = (_IMAGES, *model.input_shape[1:])
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = np.asarray(model.predict_on_batch(pixels), np.float32)
    exported = (_onnx if kind == "onnx" else _saved_model)(model, to, pixels)
    difference = float(np.abs(exported - expected).max())
    # Not `>`: no number is above it, either.
    if not difference <= TOLERANCE:
        raise ServingError(
            f"{to}: its probabilities differ from Keras' by up to {difference:.2g}; allowed: {TOLERANCE:g}"
        )
    return difference


def _onnx(model: "keras.Model", to: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    import keras

    try:
        import onnxruntime
        import tf2onnx  # noqa: F401  (Keras imports it later, and would say so in a traceback)
    except ImportError as error:
        raise ServingError(
            f"{error.name} is not installed; the extra `export` has it: pip install '.[export]'"
        ) from None
    # tf2onnx makes inputs of the tensors that these layers hold.
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
    try:
        model.export(to, format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(to, providers=["CPUExecutionProvider"])
        (answer,) = session.run(None, {session.get_inputs()[0].name: pixels})
    except Exception as error:  # both raise types of their own, which say that they lack an operation
        reason = textwrap.shorten(str(error), 300)
        raise ServingError(f"{to}: ONNX cannot hold this network: {reason}") from error
    return np.asarray(answer, np.float32)


def _saved_model(model: "keras.Model", to: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    import keras

    shutil.rmtree(to, ignore_errors=True)
    model.export(to, format="tf_saved_model", verbose=False)
    return np.asarray(keras.layers.TFSMLayer(to, call_endpoint="serve")(pixels), np.float32)
