"""Captchas that are made here are cut into the digits they show, labelled, and read."""

import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from apps.captcha import DIGITS
from apps.captcha.generate import generate
from apps.captcha.label import label, label_all
from apps.captcha.read import annotate, read_captchas, read_text
from apps.captcha.segment import segment
from apps.model import AppError
from apps.model import read as read_image
from stages import cli
from stages.common.errors import ServingError

# A folder, and how many captchas were labelled and how many skipped.
Labelled = tuple[Path, tuple[int, int]]


@pytest.fixture(scope="module")
def captchas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captchas") / "made"
    generate(to=folder, count=150, seed=1)
    return folder


@pytest.fixture(scope="module")
def labelled(captchas: Path, tmp_path_factory: pytest.TempPathFactory) -> Labelled:
    folder = tmp_path_factory.mktemp("digits")
    counts = label_all(captchas, folder, _no_person)
    return folder, counts


def _no_person(question: str) -> str:
    pytest.fail(f"asked a person: {question}")


def features(pixels: np.ndarray) -> np.ndarray:
    return cv2.resize(pixels, (16, 16), interpolation=cv2.INTER_AREA).ravel().astype(float)


def test_nearly_every_captcha_is_cut_into_four_digits(labelled: Labelled) -> None:
    folder, (done, skipped) = labelled
    assert done + skipped == 150
    assert done >= 140
    assert sorted(path.name for path in folder.iterdir()) == list(DIGITS)
    assert sum(1 for _ in folder.rglob("*.png")) == 4 * done


def test_the_same_seed_makes_the_same_captchas(captchas: Path, tmp_path: Path) -> None:
    generate(to=tmp_path / "again", count=3, seed=1)
    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (captchas / path.name).read_bytes()


def test_new_captchas_are_read_by_what_was_learnt_from_others(labelled: Labelled, tmp_path: Path) -> None:
    folder, _ = labelled
    examples = [
        (features(cv2.imread(str(path), 0)), path.parent.name) for path in sorted(folder.rglob("*.png"))
    ]
    model = KNeighborsClassifier(3).fit(*map(list, zip(*examples, strict=True)))

    def classify(images: list[np.ndarray]) -> list[tuple[str, float]]:
        rows = model.predict_proba([features(image) for image in images])
        return [(model.classes_[row.argmax()], float(row.max())) for row in rows]

    generate(to=tmp_path / "new", count=40, seed=2)
    right = 0
    for path in sorted((tmp_path / "new").iterdir()):
        captcha = read_image(path)
        try:
            text, confidence, digits = read_text(captcha, classify)
        except AppError:
            continue
        assert 0 < confidence <= 1
        assert annotate(captcha, text, digits).shape[1] == 2 * captcha.shape[1] + 8
        right += path.name.startswith(text)
    assert right >= 30


def test_a_captcha_without_four_digits_is_refused() -> None:
    with pytest.raises(AppError, match="has 0 separate shapes; must have 4 digits"):
        segment(np.full((48, 160), 255, np.uint8))


def test_a_stroke_at_the_edge_is_cut_there() -> None:
    captcha = np.full((48, 160), 255, np.uint8)
    for column in (0, 40, 80, 150):
        captcha[0:48:1, column : column + 8] = 20
    digits = segment(captcha)
    assert [digit.pixels.shape[0] == digit.pixels.shape[1] for digit in digits] == [True] * 4


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

    assert label_all(unnamed, tmp_path / "digits", ask) == (1, 1)
    assert sorted(path.parent.name for path in (tmp_path / "digits").rglob("*.png")) == ["1", "2", "3", "4"]
    assert "█" in shown[0]
    # What was labelled is not asked for again.
    assert label_all(unnamed, tmp_path / "digits", lambda _: "q") == (0, 0)

    def end(_: str) -> str:
        raise EOFError

    # Ctrl-D stops as q does.
    assert label_all(unnamed, tmp_path / "digits", end) == (0, 0)


def test_captchas_of_one_name_in_two_folders_are_both_labelled(captchas: Path, tmp_path: Path) -> None:
    """The digits of the second replaced those of the first."""
    (path, *_) = sorted(captchas.iterdir())
    for folder in ("a", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / f"{path.name[:4]}.png").write_bytes(path.read_bytes())
    assert label_all(tmp_path / "in", tmp_path / "digits", _no_person) == (2, 0)
    assert len(list((tmp_path / "digits").rglob("*.png"))) == 8
    assert label_all(tmp_path / "in", tmp_path / "digits", _no_person) == (0, 0)
    (tmp_path / "in" / f"a-{path.name[:4]}.jpg").write_bytes(path.read_bytes())
    with pytest.raises(AppError, match="would have the same names; rename one of them"):
        label_all(tmp_path / "in", tmp_path / "digits", _no_person)


def test_a_model_of_other_classes_is_refused(captchas: Path) -> None:
    (path, *_) = sorted(captchas.iterdir())
    with pytest.raises(ServingError, match="the model has a class 'cat'; allowed: one digit or letter each"):
        read_text(read_image(path), lambda images: [("cat", 0.9)] * len(images))


def test_annotated_copies_replace_no_captcha(captchas: Path) -> None:
    (path, *_) = sorted(captchas.iterdir())
    with pytest.raises(AppError, match="its copy would replace the original"):
        read_captchas([path], model="not loaded", drawn=captchas)


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(AppError, match=r"text\.png: not an image"):
        read_image(tmp_path / "text.png")
    commands = {
        "empty holds no files": (label, [str(tmp_path / "empty"), "--to", str(tmp_path / "to")]),
        "nowhere is no address of a model": (
            read_captchas,
            ["--model", "nowhere", str(tmp_path / "text.png")],
        ),
        "--model file:/nowhere: ": (read_captchas, ["--model", "file:/nowhere", str(tmp_path / "text.png")]),
    }
    for message, (command, words) in commands.items():
        with pytest.raises(SystemExit) as stopped:
            cli.main(command, words)
        assert stopped.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def test_an_mlflow_that_does_not_answer_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status was 1, that of a mistake, so nothing retried."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(SystemExit) as stopped:
            cli.main(read_captchas, ["--model", "models:/captcha@champion", str(tmp_path / "text.png")])
    assert stopped.value.code == 75
    (line,) = capsys.readouterr().err.splitlines()
    assert "--model models:/captcha@champion: " in line
