"""Captchas that are made here are cut into the digits they show, labelled, and read."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from apps.captcha import DIGITS, generate, label, read, segment
from apps.model import AppError
from apps.model import read as read_image

# A folder, and how many captchas were cut and how many left out.
Labelled = tuple[Path, tuple[int, int]]


@pytest.fixture(scope="module")
def captchas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captchas") / "made"
    generate.write(folder, 150, seed=1)
    return folder


@pytest.fixture(scope="module")
def labelled(captchas: Path, tmp_path_factory: pytest.TempPathFactory) -> Labelled:
    folder = tmp_path_factory.mktemp("digits")
    counts = label.label(captchas, folder)
    return folder, counts


def features(pixels: np.ndarray) -> np.ndarray:
    return cv2.resize(pixels, (16, 16), interpolation=cv2.INTER_AREA).ravel().astype(float)


def test_nearly_every_captcha_is_cut_into_four_digits(labelled: Labelled) -> None:
    folder, (done, left_out) = labelled
    assert done + left_out == 150
    assert done >= 140
    assert sorted(path.name for path in folder.iterdir()) == list(DIGITS)
    assert sum(1 for _ in folder.rglob("*.png")) == 4 * done


def test_the_same_seed_makes_the_same_captchas(captchas: Path, tmp_path: Path) -> None:
    generate.write(tmp_path / "again", 3, seed=1)
    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (captchas / path.name).read_bytes()


def test_new_captchas_are_read_by_what_was_learnt_from_others(labelled: Labelled, tmp_path: Path) -> None:
    folder, _ = labelled
    known = [(features(cv2.imread(str(path), 0)), path.parent.name) for path in sorted(folder.rglob("*.png"))]
    model = KNeighborsClassifier(3).fit(*map(list, zip(*known, strict=True)))

    def classify(images: list[np.ndarray]) -> list[tuple[str, float]]:
        found = model.predict_proba([features(image) for image in images])
        return [(model.classes_[row.argmax()], float(row.max())) for row in found]

    generate.write(tmp_path / "new", 40, seed=2)
    right = 0
    for path in sorted((tmp_path / "new").iterdir()):
        captcha = read_image(path)
        try:
            said, sure, found = read.text(captcha, classify)
        except AppError:
            continue
        assert 0 < sure <= 1
        assert read.drawn(captcha, said, found).shape[1] == 2 * captcha.shape[1] + 8
        right += path.name.startswith(said)
    assert right >= 30


def test_a_captcha_without_four_digits_is_refused() -> None:
    with pytest.raises(AppError, match="0 digits found, 4 expected"):
        segment.digits(np.full((48, 160), 255, np.uint8))


def test_a_stroke_at_the_edge_is_cut_there() -> None:
    captcha = np.full((48, 160), 255, np.uint8)
    for left in (0, 40, 80, 150):
        captcha[0:48:1, left : left + 8] = 20
    found = segment.digits(captcha)
    assert [digit.pixels.shape[0] == digit.pixels.shape[1] for digit in found] == [True] * 4


def test_a_person_is_asked_where_the_name_says_nothing(captchas: Path, tmp_path: Path) -> None:
    unnamed = tmp_path / "unnamed"
    unnamed.mkdir()
    for number, path in enumerate(sorted(captchas.iterdir())[:3]):
        (unnamed / f"photo{number}.png").write_bytes(path.read_bytes())
    keys = iter(["x", "1", "2", "3", "4", "s", "q"])
    shown = []

    def ask(text: str) -> str:
        shown.append(text)
        return next(keys)

    assert label.label(unnamed, tmp_path / "digits", ask) == (1, 1)
    assert sorted(path.parent.name for path in (tmp_path / "digits").rglob("*.png")) == ["1", "2", "3", "4"]
    assert "█" in shown[0]
    # What was labelled is not asked for again.
    assert label.label(unnamed, tmp_path / "digits", lambda _: "q") == (0, 0)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(AppError, match=r"text\.png: not an image"):
        read_image(tmp_path / "text.png")
    with pytest.raises(SystemExit, match="holds no files"):
        label.main([str(tmp_path / "empty"), "--to", str(tmp_path / "to")])
    with pytest.raises(SystemExit, match="--model nowhere: "):
        read.main(["--model", "nowhere", str(tmp_path / "text.png")])
