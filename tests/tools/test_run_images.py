"""`make run DATA=`: what is said and refused before DVC starts, and the command that DVC gets."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from stages import cli
from stages.common.errors import ParamsError, SourceError
from stages.data import layout
from stages.tools import run_images
from tests.data.test_layout import files

OFFLINE = run_images.Choice("images_from_scratch", "small members", (), side=64, seconds=60, start=40)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights in Keras' cache and none to download."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(run_images, "_WEIGHTS_URL", "http://127.0.0.1:9/")


def checked(root: Path) -> None:
    recognized = layout.recognize(root)
    run_images.check(recognized, layout.count(recognized), size=1)


def test_a_dry_run_says_what_it_would_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    root = files(tmp_path / "My images", *(f"{name}/{n}.jpg" for name in ("cat", "dog") for n in range(12)))
    monkeypatch.chdir(tmp_path)
    cli.main(run_images.run_images, [str(root), "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{root}: one folder per class"
    assert lines[1] == "  24 files in 2 classes: cat 12, dog 12"
    assert lines[3].startswith("  recipe images_from_scratch: HOG + logistic regression")


def test_weights_in_datasets_are_used_with_their_width(tmp_path: Path, offline: None) -> None:
    assert run_images.choose(tmp_path).recipe == "images_from_scratch"
    weights = tmp_path / "mobilenet_v2_0.35_224_no_top.weights.h5"
    weights.touch()
    choice = run_images.choose(tmp_path)
    assert choice.recipe == "images"
    assert choice.overrides == (
        f"extractors.mobilenet_v2.weights={weights}",
        "extractors.mobilenet_v2.options={alpha: 0.35}",
    )


def test_too_few_classes_or_images_are_refused_with_their_numbers(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="each class needs 3 images or more; too few: dog 2"):
        checked(files(tmp_path / "few", *(f"cat/{n}.jpg" for n in range(5)), "dog/1.jpg", "dog/2.jpg"))
    single = files(tmp_path / "one" / "train", *(f"cat/{n}.jpg" for n in range(5))).parent
    with pytest.raises(SourceError, match="at least two classes; here: cat"):
        checked(single)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    recognized = layout.recognize(files(tmp_path, *(f"{c}/{n}.jpg" for c in "ab" for n in range(3))))
    with pytest.raises(ParamsError, match=r"the run needs 1000000\.0 GB of disk; .* has .* GB free"):
        run_images.check(recognized, layout.count(recognized), size=10**15)


@pytest.mark.parametrize(
    "name", ["My images", "it's", 'a"b', "x; touch y", "$(touch y)", "ä=ö,ü", "a\\b", "a\\'b", "end\\", "[1]"]
)
def test_any_path_reaches_hydra_as_it_is(tmp_path: Path, name: str) -> None:
    root = files(tmp_path / name, *(f"{c}/{n}.jpg" for c in "ab" for n in range(3)))
    words = run_images.command(layout.recognize(root), OFFLINE, verbose=False)
    overrides = [word for word in words if word.startswith("++ingest.source.path=")]
    (parsed,) = OverridesParser.create().parse_overrides(overrides)
    assert parsed.value() == str(root)
