"""Faces are detected, classified and marked, in photographs and in videos."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from apps.model import AppError
from apps.smile import detect, faces
from stages.common.errors import ServingError


def face(side: int = 200) -> np.ndarray:
    """A drawn face that the cascade takes for one: what it knows is where faces are dark and light."""
    canvas = np.full((side * 2, side * 2, 3), 235, np.uint8)
    middle = side
    cv2.ellipse(canvas, (middle, middle), (side // 2, int(side * 0.66)), 0, 0, 360, (205, 170, 150), -1)
    for across in (-1, 1):
        eye = (middle + across * side // 5, middle - side // 6)
        cv2.ellipse(
            canvas, (eye[0], eye[1] - side // 9), (side // 9, side // 40), 0, 0, 360, (70, 50, 40), -1
        )
        cv2.ellipse(canvas, eye, (side // 9, side // 16), 0, 0, 360, (120, 90, 80), -1)
        cv2.circle(canvas, eye, side // 22, (30, 20, 20), -1)
    cv2.ellipse(
        canvas, (middle, middle + side // 8), (side // 14, side // 30), 0, 0, 360, (150, 110, 100), -1
    )
    cv2.ellipse(canvas, (middle, middle + side // 3), (side // 6, side // 24), 0, 0, 360, (140, 60, 60), -1)
    return cv2.GaussianBlur(canvas, (9, 9), 0)


def smiling(images: list[np.ndarray]) -> list[tuple[str, float]]:
    return [("positives7", 0.9)] * len(images)


def test_the_cascade_finds_a_face_where_it_is() -> None:
    (box,) = faces.haar()(face())
    left, top, width, height = box
    assert left < 200 < left + width
    assert top < 200 < top + height
    assert faces.haar()(np.full((300, 300, 3), 200, np.uint8)) == []


def test_boxes_of_a_large_photograph_are_in_its_own_pixels() -> None:
    (box,) = faces.haar()(cv2.resize(face(), None, fx=4, fy=4))
    assert box[2] > 500


@pytest.mark.parametrize(("label", "smiles"), [("smiling", 1), ("not_smiling", 0), ("negatives7", 0)])
def test_classes_with_plain_names_are_known_too(tmp_path: Path, label: str, smiles: int) -> None:
    (tmp_path / "photo.png").write_bytes(cv2.imencode(".png", face())[1])
    line = detect.annotate_photograph(
        tmp_path / "photo.png", tmp_path / "to", faces.haar(), lambda images: [(label, 0.9)] * len(images)
    )
    assert line.endswith(f"1 face\t{smiles} smiling")


def test_the_model_sees_the_gray_face_and_the_copy_has_a_box(tmp_path: Path) -> None:
    seen_by_model: list[np.ndarray] = []

    def classify(images: list[np.ndarray]) -> list[tuple[str, float]]:
        seen_by_model.extend(images)
        return smiling(images)

    (tmp_path / "photo.png").write_bytes(cv2.imencode(".png", face())[1])
    line = detect.annotate_photograph(tmp_path / "photo.png", tmp_path / "to", faces.haar(), classify)
    assert line.endswith("1 face\t1 smiling")
    assert seen_by_model[0].ndim == 2
    written = cv2.imread(str(tmp_path / "to" / "photo.png"))
    assert (written != cv2.cvtColor(face(), cv2.COLOR_RGB2BGR)).any()


def test_a_video_is_written_frame_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "party.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (400, 400))
    for number in range(4):
        writer.write(face() if number < 3 else np.full((400, 400, 3), 200, np.uint8))
    writer.release()
    line = detect.annotate_video(path, tmp_path / "to", faces.haar(), smiling)
    assert line.endswith("4 frames\t3 with a smile")
    assert [file.name for file in (tmp_path / "to").iterdir()] == ["party.avi"]
    assert cv2.VideoCapture(str(tmp_path / "to" / "party.avi")).get(cv2.CAP_PROP_FRAME_COUNT) == 4


@pytest.mark.parametrize(
    ("names", "to", "message"),
    [
        (["a/face.png"], "a", "a/face.png: its copy would replace the original"),
        (["a/face.jpg", "a/face.png"], "a", "a/face.jpg: its copy would replace the original"),
        (["a/link.png"], "a", "a/link.png: its copy would replace the original"),
        (["a/film.avi"], "a/../a", "a/film.avi: its copy would replace the original"),
        (["a/1.png", "b/1.png"], "to", "a/1.png and .*b/1.png would have the same copy"),
        (["a/1.png", "a/1.jpg"], "to", "a/1.png and .*a/1.jpg would have the same copy"),
    ],
)
def test_copies_replace_no_file_and_no_other_copy(
    tmp_path: Path, names: list[str], to: str, message: str
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "b" / "target.png").write_bytes(b"x")
    (tmp_path / "a" / "link.png").symlink_to("../b/target.png")
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_bytes(cv2.imencode(".png", face())[1])
    with pytest.raises(AppError, match=message):
        detect.detect_smiles(paths, model="not loaded", to=tmp_path / to)
    assert not (tmp_path / "to").exists()


def test_a_model_of_other_classes_is_refused() -> None:
    with pytest.raises(ServingError, match="the model has a class '7'; allowed: positives7, smiling"):
        detect.annotate(face(), faces.haar(), lambda images: [("7", 0.9)] * len(images))


def test_mistakes_are_named(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_text("no video")
    with pytest.raises(AppError, match=r"no\.mp4: not a video"):
        detect.annotate_video(tmp_path / "no.mp4", tmp_path / "to", faces.haar(), smiling)
    with pytest.raises(AppError, match="--yunet"):
        faces.yunet(tmp_path / "missing.onnx")
