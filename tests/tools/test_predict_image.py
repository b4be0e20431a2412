"""predict_image: files, folders and globs; four outputs; what is no image; networks out of the box."""

import csv
import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from stages import cli
from stages.common.files import read_json
from stages.models.learners import cnn
from stages.tools import _answers
from stages.tools.predict_image import predict_image
from stages.train import train
from tests.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tracked: Path, packed: Any) -> str:
    """The URI of a network that sees patches."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"]["lenet"]
    network = {"network": "shallownet", "code": "stages/models/networks/shallownet.py", "patch": [12, 12]}
    params = cnn.Params.model_validate(values | network)
    train("patchy", params=params, recipe="tiny", data=packed.packed, model=tracked / "patchy")
    return f"runs:/{read_json(tracked / 'patchy' / 'run.json')['run_id']}/model"


def run_command(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) if status else nullcontext() as stopped:
        cli.main(predict_image, [str(word) for word in words])
    assert stopped is None or stopped.value.code == status
    return capsys.readouterr()


def test_folders_globs_and_files_once_each(
    model: str, packed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cats = packed.source / "cat"
    words = [cats, packed.source / "dog" / "00*.png", cats / "000.png"]
    out, _ = run_command(capsys, "--model", model, "--top", 2, *words)
    lines = out.splitlines()
    assert len(lines) == 20 + 10
    path, best = lines[0].split(": ")
    assert path == str(cats / "000.png")
    (first, second) = [part.split() for part in best.split(", ")]
    assert {first[0], second[0]} < {"cat", "dog", "panda"}
    assert float(first[1]) >= float(second[1])


def test_json_csv_and_submissions_hold_the_same_answers(
    model: str, packed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", model, packed.source / "cat" / "000.png", packed.source / "panda" / "001.png"]
    as_json = json.loads(run_command(capsys, *words, "--output", "json")[0])
    as_csv = list(csv.DictReader(run_command(capsys, *words, "--output", "csv")[0].splitlines()))
    assert [list(row) for row in as_json] == [["path", "rank", "label", "probability"]] * 6
    assert [[str(value) for value in row.values()] for row in as_json] == [list(r.values()) for r in as_csv]
    assert [row["rank"] for row in as_json] == [1, 2, 3, 1, 2, 3]
    assert sum(row["probability"] for row in as_json[:3]) == pytest.approx(1)

    ten = json.loads(run_command(capsys, *words, "--output", "json", "--crops", "ten")[0])
    assert ten[0]["probability"] != as_json[0]["probability"]

    # Kaggle's columns.
    rows = list(csv.DictReader(run_command(capsys, *words, "--output", "submission")[0].splitlines()))
    best = [row["label"] for row in as_json if row["rank"] == 1]
    assert rows == [{"id": "000", "label": best[0]}, {"id": "001", "label": best[1]}]


def test_a_submission_of_two_classes_has_the_probability_of_the_second(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As in Dogs vs. Cats, where 1 is a dog."""
    probabilities = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
    paths = [Path("test1/1.jpg"), Path("test1/2.jpg")]
    _answers.show(_answers.Answers(paths, ["cat", "dog"], probabilities, top=3), "submission")
    assert capsys.readouterr().out == "id,label\n1,0.75\n2,0.0\n"


def test_a_file_that_is_no_image_is_named_and_the_others_are_predicted(
    model: str, packed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    out, err = run_command(capsys, "--model", model, tmp_path, packed.source / "cat" / "000.png", status=1)
    assert len(out.splitlines()) == 1
    assert f"event=skipped_image path={tmp_path / 'notes.txt'} reason=" in err
    assert "not an image in one of the formats" in err
    assert "not images: 1 of 2 files" in err


def test_links_that_lead_to_no_file_are_named_and_the_others_are_predicted(
    model: str, packed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A submission lacked their rows without a word."""
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "seven.png").symlink_to(packed.source / "cat" / "000.png")
    (folder / "eight.png").symlink_to("nowhere.png")
    (folder / "nine.png").symlink_to("nine.png")
    (folder / "cats").symlink_to(packed.source / "cat")
    out, err = run_command(capsys, "--model", model, folder, status=1)
    assert out.startswith(f"{folder / 'seven.png'}: ")
    assert out.count("\n") == 1
    for name, reason in (
        ("eight.png", "broken link"),
        ("nine.png", "broken link"),
        ("cats", "link to a folder"),
    ):
        assert f'skipped_image path={folder / name} reason="{reason}"' in err
    assert "not images: 3 of 4 files" in err
    for word in (folder / "eight.png", folder / "e*.png"):
        _, err = run_command(capsys, "--model", model, word, status=1)
        assert f'skipped_image path={folder / "eight.png"} reason="broken link"' in err
        assert "none of 1 file is an image" in err


def test_a_name_that_is_no_text_is_named_and_the_others_are_predicted(
    model: str, packed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Windows and old archives leave them; a folder holds them beside others."""
    image = (packed.source / "cat" / "000.png").read_bytes()
    (tmp_path / "seven.png").write_bytes(image)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.png")).write_bytes(image)
    out, err = run_command(capsys, "--model", model, tmp_path, status=1)
    assert out.startswith(f"{tmp_path / 'seven.png'}: ")
    assert out.count("\n") == 1
    assert "the name is not valid UTF-8" in err
    assert "not images: 1 of 2 files" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--top", "0", "IMAGE"], "for --top"),
        (["--model", "x", "--network", "vgg16", "IMAGE"], "name either --model or --network"),
        (["--output", "xml", "IMAGE"], "for --output"),
        ([], "IMAGES requires an argument"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    _, err = run_command(capsys, *words, status=2)
    (line,) = err.splitlines()
    assert message in line
    assert "--help lists the options" in line or message.startswith("name")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.png"], "nowhere.png: no such file, folder or pattern"),
        (["--model", "models:/none@champion", "IMAGE"], "none has no champion and no version"),
        (
            ["--model", "digits", "IMAGE"],
            "digits is no address of a model; name one as models:/digits@champion",
        ),
        (
            ["--model", "models:/digits", "IMAGE"],
            "models:/digits is no address of a model; name one as models:/d",
        ),
        (["--network", "vgg17", "IMAGE"], "keras.applications has no network 'vgg17'; allowed: "),
        (["--network", "vgg16", "--weights", "none.h5", "IMAGE"], "--weights none.h5: no such file"),
    ],
)
def test_mistakes_are_one_line(
    tracked: Path, packed: Any, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    image = str(packed.source / "cat" / "000.png")
    out, err = run_command(capsys, *[image if word == "IMAGE" else word for word in words], status=1)
    assert out == ""
    (line,) = [line for line in err.splitlines() if "level=error" in line]
    assert message in line
    assert "Traceback" not in err


def test_a_recipe_without_a_champion_says_what_to_do(
    model: str,
    packed: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A first run on few images is refused, and the next command of docs/first-hour.md is `make predict`."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values | {"recipe": "refused"}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    client = MlflowClient()
    client.create_registered_model("refused")
    client.create_model_version("refused", model)
    _, err = run_command(capsys, packed.source / "cat" / "000.png", status=1)
    assert "refused has no champion: name a version, such as models:/refused/1" in err


def test_a_network_out_of_the_box_says_what_it_says_in_keras(
    packed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keras.utils.set_random_seed(1)
    keras.applications.MobileNetV2(weights=None).save_weights(tmp_path / "random.weights.h5")
    # Without the internet there are no names.
    monkeypatch.setattr("stages.models.backbones.imagenet_names", offline)
    words = ["--network", "mobilenet_v2", "--weights", tmp_path / "random.weights.h5", "--top", 5]
    out, err = run_command(capsys, *words, "--output", "json", packed.source / "cat" / "000.png")
    rows = json.loads(out)
    assert len(rows) == 5
    assert all(0 <= int(row["label"]) < 1000 for row in rows)
    assert "the names of ImageNet's classes cannot be downloaded" in err


def offline() -> list[str]:
    raise OSError("offline")


def test_weights_that_cannot_be_downloaded_are_one_line(
    packed: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    no_network: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    words = ["--network", "MobileNetV2", packed.source / "cat" / "000.png"]
    _, err = run_command(capsys, *words, status=75)
    (line,) = [line for line in err.splitlines() if "level=error" in line]
    assert "MobileNetV2 with weights 'imagenet' cannot be built: " in line
