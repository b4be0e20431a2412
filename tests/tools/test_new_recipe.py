"""`make new`: a commented recipe of one's own that composes, and never over another."""

import shutil
from pathlib import Path

import pytest
import yaml

from stages import cli, params
from stages.tools.new_recipe import new_recipe
from stages.tools.running import choosing, composing
from tests.data.test_layout import files
from tests.paths import ROOT


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/, as recipes are written there; no weights to download."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(choosing, "_WEIGHTS_URL", "http://127.0.0.1:9/")
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit):
        cli.main(new_recipe, [*words])
    return capsys.readouterr().err


def test_a_recipe_has_the_images_and_the_next_command(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = files(workspace / "My images: ä", *(f"{name}/{n}.jpg" for name in "ab" for n in range(5)))
    files(workspace / "datasets", "mobilenet_v2_0.35_224_no_top.weights.h5")
    cli.main(new_recipe, ["flowers", "--data", str(root)])
    assert capsys.readouterr().out == (
        "images: MobileNetV2 features (weights in datasets/) + logistic regression\n"
        "conf/recipe/flowers.yaml\nNext: make run RECIPE=flowers\n"
    )
    composing.compose(Path("conf"), ["recipe=flowers"], composing.NEXT)
    checked = params.load(composing.NEXT)
    # Relative: a clone, a container and a pod have the repository in another place.
    assert (checked.recipe, checked.ingest.source.path) == ("flowers", Path("My images: ä"))
    assert checked.extractors["mobilenet_v2"].model_dump()["options"] == {"alpha": 0.35}


def test_images_outside_of_the_repository_have_their_whole_path(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = files(tmp_path_factory.mktemp("images"), *(f"{name}/{n}.jpg" for name in "ab" for n in range(5)))
    cli.main(new_recipe, ["flowers", "--base", "images_from_scratch", "--data", str(root)])
    composing.compose(Path("conf"), ["recipe=flowers"], composing.NEXT)
    assert params.load(composing.NEXT).ingest.source.path == root


@pytest.mark.parametrize(
    ("words", "changed", "value"),
    [
        (["--base", "digits"], "models.lenet.train.epochs", 12),
        # Keys of sections that the recipe has already.
        (["--data", "images"], "ingest.near_duplicates.distance", 4),
        (["--data", "images"], "extractors.mobilenet_v2.mirror", False),
    ],
)
def test_each_commented_key_can_be_switched_on(
    workspace: Path, words: list[str], changed: str, value: object
) -> None:
    files(workspace / "images", *(f"{name}/{n}.jpg" for name in "ab" for n in range(5)))
    files(workspace / "datasets", "mobilenet_v2_0.35_224_no_top.weights.h5")
    cli.main(new_recipe, ["mine", *words])
    composing.compose(Path("conf"), ["recipe=mine"], Path("written.yaml"))
    path = workspace / "conf" / "recipe" / "mine.yaml"
    head, mark, sections = path.read_text(encoding="utf-8").partition("has every key.\n")
    assert {len(line) for line in sections.splitlines()} <= set(range(111))
    switched = "\n".join(line.removeprefix("# ") for line in sections.splitlines())
    own = yaml.safe_load(switched)
    for key in changed.split("."):
        own = own[key]
    assert own == value
    path.write_text(head + mark + switched, encoding="utf-8")
    composing.compose(Path("conf"), ["recipe=mine"], Path("switched.yaml"))
    assert params.load(Path("switched.yaml")) == params.load(Path("written.yaml"))


def test_nothing_is_overwritten(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (workspace / "conf" / "recipe" / "digits.yaml").read_bytes()
    assert "digits.yaml exists and is not overwritten" in refusal(capsys, "digits")
    assert (workspace / "conf" / "recipe" / "digits.yaml").read_bytes() == before


def test_a_wrong_name_and_a_wrong_base(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("../x", "123", "null", "on", "nan"):
        line = refusal(capsys, name)
        assert "begins with a lower-case letter; such letters, digits and _ follow" in line
        assert f"it is {name!r}" in line
    assert "there is no recipe digit; did you mean digits?" in refusal(capsys, "mine", "--base", "digit")


def test_a_base_that_does_not_take_the_images_leaves_no_file(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = files(workspace / "images", *(f"{name}/{n}.jpg" for name in "ab" for n in range(5)))
    error = refusal(capsys, "mine", "--base", "lenet_mnist", "--data", str(root))
    assert "lenet_mnist with these images: " in error
    assert not (workspace / "conf" / "recipe" / "mine.yaml").exists()


def test_too_few_images_for_the_folds_of_the_base_leave_no_file(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They were refused by `make run RECIPE=mine`."""
    root = files(workspace / "images", *(f"{name}/{n}.jpg" for name in "ab" for n in range(4)))
    error = refusal(capsys, "mine", "--base", "images_from_scratch", "--data", str(root))
    assert "images_from_scratch with these images: " in error
    assert "each class needs 5 images or more, so that 3 are left to train on" in error
    assert not (workspace / "conf" / "recipe" / "mine.yaml").exists()


def test_without_weights_the_base_is_the_recipe_from_scratch(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipe that needs weights was written, and could not run."""
    root = files(workspace / "images", *(f"{name}/{n}.jpg" for name in "ab" for n in range(9)))
    cli.main(new_recipe, ["flowers", "--data", str(root)])
    assert capsys.readouterr().out.startswith("images_from_scratch: HOG + logistic regression")
    composing.compose(Path("conf"), ["recipe=flowers"], composing.NEXT)
    assert "minivggnet" in params.load(composing.NEXT).models
