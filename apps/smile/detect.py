"""Find faces in photographs and videos, say of each whether it smiles, and write copies with boxes."""

import argparse
import mimetypes
import tempfile
from pathlib import Path

import cv2
import numpy as np

from apps.model import AppError, Classifier, Pixels, load, png, read, run
from apps.smile.faces import Box, Detector, haar, yunet
from stages.common.files import replacing

# The class of the recipe's smiling faces; any other is not smiling.
SMILING = "positives7"
_COLORS = {True: (30, 140, 60), False: (120, 120, 120)}


def annotated(pixels: Pixels, detect: Detector, classify: Classifier) -> tuple[Pixels, int, int]:
    """A copy with a box around every face, and how many faces there are and how many smile."""
    boxes = detect(pixels)
    answers = classify([_gray(pixels, box) for box in boxes])
    canvas = pixels.copy()
    for box, (label, sure) in zip(boxes, answers, strict=True):
        _draw(canvas, box, smiling=label == SMILING, sure=sure)
    return canvas, len(boxes), sum(label == SMILING for label, _ in answers)


def photograph(path: Path, to: Path, detect: Detector, classify: Classifier) -> str:
    """Write `to`/NAME.png; returns a line for people. Raises AppError when it cannot be read."""
    canvas, faces, smiles = annotated(read(path), detect, classify)
    with replacing(to / f"{path.stem}.png") as aside:
        aside.write_bytes(png(canvas))
    return f"{path}\t{faces} faces\t{smiles} smiling"


def video(path: Path, to: Path, detect: Detector, classify: Classifier) -> str:
    """Write `to`/NAME.avi, frame by frame; returns a line for people. Raises AppError as `photograph`."""
    capture = cv2.VideoCapture(str(path))
    size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    if not capture.isOpened() or not all(size):
        raise AppError(f"{path}: not a video that OpenCV can read")
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    frames = with_smile = 0
    to.mkdir(parents=True, exist_ok=True)
    # A folder and not only another name: the writer tells the container from the name's end.
    with tempfile.TemporaryDirectory(dir=to) as aside:
        unfinished = Path(aside) / f"{path.stem}.avi"
        writer = cv2.VideoWriter(str(unfinished), cv2.VideoWriter.fourcc(*"MJPG"), rate, size)
        try:
            while True:
                there, frame = capture.read()
                if not there:
                    break
                pixels = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
                canvas, _, smiles = annotated(pixels, detect, classify)
                writer.write(cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
                frames, with_smile = frames + 1, with_smile + bool(smiles)
        finally:
            writer.release()
            capture.release()
        unfinished.replace(to / unfinished.name)
    return f"{path}\t{frames} frames\t{with_smile} with a smile"


def _gray(pixels: Pixels, box: Box) -> Pixels:
    left, top, width, height = box
    return np.asarray(
        cv2.cvtColor(pixels[top : top + height, left : left + width], cv2.COLOR_RGB2GRAY), np.uint8
    )


def _draw(canvas: Pixels, box: Box, *, smiling: bool, sure: float) -> None:
    left, top, width, height = box
    color = _COLORS[smiling]
    cv2.rectangle(canvas, (left, top), (left + width, top + height), color, 2)
    words = f"{'smiling' if smiling else 'not smiling'} {sure:.0%}"
    cv2.putText(canvas, words, (left, max(14, top - 6)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, 1, cv2.LINE_AA)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m apps.smile.detect", description=__doc__)
    parser.add_argument("--model", required=True, help="an MLflow model URI: models:/NAME@champion")
    parser.add_argument("--to", type=Path, required=True, help="the folder for the annotated copies")
    parser.add_argument("--yunet", type=Path, help="YuNet's ONNX file; without it, OpenCV's Haar cascade")
    parser.add_argument("files", type=Path, nargs="+", help="photographs and videos")
    given = parser.parse_args(argv)

    def work() -> None:
        detect = yunet(given.yunet) if given.yunet else haar()
        classify = load(given.model)
        for path in given.files:
            kind = mimetypes.guess_type(path)[0] or ""
            way = video if kind.startswith("video/") else photograph
            print(way(path, given.to, detect, classify))

    run(work)


if __name__ == "__main__":
    main()
