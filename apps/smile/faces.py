"""Face detectors: YuNet, a small network, where the user has its file; otherwise OpenCV's Haar cascade.

YuNet finds turned and half-covered faces that the cascade misses, but its weights (face_detection_yunet, from
OpenCV's model zoo) are not part of OpenCV; the cascade is.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from apps.model import AppError, Pixels

# left, top, width, height in pixels, inside the image.
Box = tuple[int, int, int, int]
# RGB pixels → boxes.
Detector = Callable[[Pixels], list[Box]]

_CASCADE = "haarcascade_frontalface_default.xml"
# Detection gets slower above this size, not better; the book's 300 misses faces in the background.
_LONG_SIDE = 640


def haar() -> Detector:
    """Return the cascade of Viola and Jones 2001.

    Scale factor, neighbours and smallest face are the book's (Starter Bundle ch. 22). Two things differ: the
    contrast is equalized, and images are searched at up to 640 pixels; the book makes every frame 300 wide.

    Raises:
        AppError: When this version of OpenCV does not contain the cascade.
    """
    # Beside the package: `cv2.data` has no types.
    cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / _CASCADE))
    # A missing file is no error to OpenCV.
    if cascade.empty():
        raise AppError(f"OpenCV {cv2.__version__} comes without {_CASCADE}; use --yunet FILE")

    def detect(pixels: Pixels) -> list[Box]:
        gray = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
        return _boxes(cascade.detectMultiScale(gray, 1.1, 5, minSize=(30, 30)))

    return _scaled(detect)


def yunet(weights: Path) -> Detector:
    """Return YuNet (Wu, Peng, Yu 2023).

    Args:
        weights: Its ONNX file.

    Raises:
        AppError: When OpenCV cannot read the file.
    """
    try:
        network = cv2.FaceDetectorYN.create(str(weights), "", (320, 320))
    except cv2.error as error:
        raise AppError(f"--yunet {weights}: {error.err}") from None

    def detect(pixels: Pixels) -> list[Box]:
        network.setInputSize(pixels.shape[1::-1])
        faces = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
        return [] if faces is None else _boxes(faces)

    return _scaled(detect)


def _boxes(faces: Any) -> list[Box]:
    """The first four columns of OpenCV's result."""
    return [
        (round(left), round(top), round(width), round(height))
        for left, top, width, height in (face[:4].tolist() for face in faces)
    ]


def _scaled(detect: Detector) -> Detector:
    """The detector on a smaller copy of large images, its boxes cut at the border."""

    def scaled(pixels: Pixels) -> list[Box]:
        height, width = pixels.shape[:2]
        factor = min(1.0, _LONG_SIDE / max(height, width))
        small = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        boxes = []
        for box in detect(np.asarray(small, np.uint8)):
            left, top, across, down = (round(value / factor) for value in box)
            right, bottom = min(left + across, width), min(top + down, height)
            left, top = max(left, 0), max(top, 0)
            if right > left and bottom > top:
                boxes.append((left, top, right - left, bottom - top))
        return sorted(boxes)

    return scaled
