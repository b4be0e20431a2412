"""Detect faces in photographs and videos, classify each as smiling or not, and write annotated copies."""

import mimetypes
import tempfile
from pathlib import Path

import cv2
import numpy as np

from apps.model import AppError, Classifier, Pixels, check_copies, load, png, read
from apps.smile import faces
from apps.smile.faces import Box, Detector
from stages import cli
from stages.common.errors import ServingError
from stages.common.files import replace_atomically

# What the classes are called: in the folders of SMILES, and in an archive with plain names.
SMILING, NOT_SMILING = ("positives7", "smiling"), ("negatives7", "not_smiling")
_COLORS = {True: (30, 140, 60), False: (120, 120, 120)}


def detect_smiles(files: list[Path], *, model: str, to: Path, yunet: Path | None = None) -> None:
    """Detect faces, classify each as smiling or not, and write copies with boxes: NAME.png or NAME.avi.

    Args:
        files: Photographs and videos.
        model: The model's URI in MLflow: models:/NAME@champion.
        to: The folder to write the copies into.
        yunet: YuNet's ONNX file; by default, OpenCV's Haar cascade detects.

    Raises:
        AppError: When a file, the model or the detector's weights cannot be read, or a copy would replace a
            file or another copy.
        ServingError: When the model has other classes, or no champion.
    """
    check_copies(files, [_copy(path, to) for path in files])
    detector = faces.yunet(yunet) if yunet else faces.haar()
    classify = load(model)
    for path in files:
        print((annotate_video if _is_video(path) else annotate_photograph)(path, to, detector, classify))


def annotate(pixels: Pixels, detect: Detector, classify: Classifier) -> tuple[Pixels, int, int]:
    """Draw a box around each face.

    Args:
        pixels: RGB (H, W, 3) uint8.
        detect: Finds the faces.
        classify: Classifies gray faces.

    Returns:
        A copy with the boxes, the number of faces and the number of smiling ones.

    Raises:
        ServingError: The model's classes are others.
    """
    boxes = detect(pixels)
    answers = classify([_crop_gray(pixels, box) for box in boxes])
    for label, _ in answers:
        if label not in SMILING + NOT_SMILING:
            raise ServingError(
                f"the model has a class {label!r}; allowed: {', '.join(SMILING + NOT_SMILING)}"
            )
    canvas = pixels.copy()
    for box, (label, confidence) in zip(boxes, answers, strict=True):
        _draw(canvas, box, smiling=label in SMILING, confidence=confidence)
    return canvas, len(boxes), sum(label in SMILING for label, _ in answers)


def annotate_photograph(path: Path, to: Path, detect: Detector, classify: Classifier) -> str:
    """Write `to`/NAME.png and return a line for people. Raises AppError when `path` cannot be read."""
    canvas, count, smiles = annotate(read(path), detect, classify)
    with replace_atomically(_copy(path, to)) as partial:
        partial.write_bytes(png(canvas))
    return f"{path}\t{count} {'face' if count == 1 else 'faces'}\t{smiles} smiling"


def annotate_video(path: Path, to: Path, detect: Detector, classify: Classifier) -> str:
    """Write `to`/NAME.avi, frame by frame, and return a line for people.

    Raises AppError when `path` cannot be read.
    """
    capture = cv2.VideoCapture(str(path))
    size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    if not capture.isOpened() or not all(size):
        raise AppError(f"{path}: not a video that OpenCV can read")
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    frames = with_smile = 0
    to.mkdir(parents=True, exist_ok=True)
    with (
        replace_atomically(_copy(path, to)) as partial,
        tempfile.TemporaryDirectory(dir=to) as folder,
    ):
        # The writer tells the container from the name's ending, which `partial` does not have.
        unfinished = Path(folder) / "unfinished.avi"
        writer = cv2.VideoWriter(str(unfinished), cv2.VideoWriter.fourcc(*"MJPG"), rate, size)
        try:
            while True:
                has_frame, frame = capture.read()
                if not has_frame:
                    break
                pixels = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
                canvas, _, smiles = annotate(pixels, detect, classify)
                writer.write(cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
                frames, with_smile = frames + 1, with_smile + bool(smiles)
        finally:
            writer.release()
            capture.release()
        unfinished.replace(partial)
    return f"{path}\t{frames} frames\t{with_smile} with a smile"


def _copy(path: Path, to: Path) -> Path:
    return to / f"{path.stem}.{'avi' if _is_video(path) else 'png'}"


def _is_video(path: Path) -> bool:
    return (mimetypes.guess_type(path)[0] or "").startswith("video/")


def _crop_gray(pixels: Pixels, box: Box) -> Pixels:
    left, top, width, height = box
    return np.asarray(
        cv2.cvtColor(pixels[top : top + height, left : left + width], cv2.COLOR_RGB2GRAY), np.uint8
    )


def _draw(canvas: Pixels, box: Box, *, smiling: bool, confidence: float) -> None:
    left, top, width, height = box
    color = _COLORS[smiling]
    cv2.rectangle(canvas, (left, top), (left + width, top + height), color, 2)
    words = f"{'smiling' if smiling else 'not smiling'} {confidence:.0%}"
    cv2.putText(canvas, words, (left, max(14, top - 6)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, 1, cv2.LINE_AA)


if __name__ == "__main__":
    cli.main(detect_smiles)
