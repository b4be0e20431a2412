"""A trained model as the applications use it, and the one way they fail."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.common.errors import ConvoyError

Pixels = NDArray[np.uint8]
# Images (H, W, 1 or 3) uint8, RGB → their labels and how sure the model is of each, 0 to 1.
Classifier = Callable[[Sequence[Pixels]], list[tuple[str, float]]]


class AppError(ConvoyError):
    """Something that whoever started the application can mend."""


def load(uri: str) -> Classifier:
    """The model at an MLflow URI (`models:/captcha@champion`, `models:/m-…`, a folder).

    Raises AppError when there is none.
    """
    import mlflow
    import pandas as pd
    from mlflow.exceptions import MlflowException

    try:
        model = mlflow.pyfunc.load_model(uri)
    except (MlflowException, OSError) as error:
        raise AppError(f"--model {uri}: {str(error).splitlines()[0]}") from None

    def classify(images: Sequence[Pixels]) -> list[tuple[str, float]]:
        if not images:
            return []
        found = model.predict(pd.DataFrame({"image": [png(image) for image in images]}))
        return [
            (str(label), float(sure))
            for label, sure in zip(found["label"], found["probability"], strict=True)
        ]

    return classify


def png(pixels: Pixels) -> bytes:
    """Gray or RGB pixels as a PNG file's bytes."""
    turned = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels
    return bytes(cv2.imencode(".png", turned)[1])


def read(path: Path) -> Pixels:
    """An image file, (H, W, 3) uint8 RGB. Raises AppError when it cannot be read."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise AppError(f"{path}: {error.strerror}") from None
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if pixels is None:
        raise AppError(f"{path}: not an image that OpenCV can read")
    return np.asarray(pixels, np.uint8)


def run(work: Callable[[], None]) -> None:
    """Do the work of a command line; an AppError becomes one line and exit status 1."""
    try:
        work()
    except ConvoyError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
