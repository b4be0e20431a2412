"""What people find in MLflow: a model that says what it takes, needs no more than it uses, and runs alone."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel

from stages.common.files import read_json
from stages.serving.classifier import Classifier
from tests.paths import ROOT


def uri_of(folder: Path) -> str:
    return f"runs:/{read_json(folder / 'run.json')['run_id']}/model"


@pytest.fixture(scope="module")
def loaded(members: dict[str, Path]) -> PyFuncModel:
    return mlflow.pyfunc.load_model(uri_of(members["patchy"]))


def test_the_signature_says_what_goes_in_and_comes_out(loaded: PyFuncModel) -> None:
    signature = loaded.metadata.signature.to_dict()
    assert json.loads(signature["inputs"]) == [{"type": "binary", "name": "image", "required": True}]
    outputs = {column["name"]: column["type"] for column in json.loads(signature["outputs"])}
    assert outputs == {"label": "string", "probability": "double", "probabilities": "map"}
    (crops,) = json.loads(signature["params"])
    assert (crops["name"], crops["default"]) == ("crops", "center")


def test_the_example_is_a_image_that_it_takes(loaded: PyFuncModel) -> None:
    answer = loaded.predict(loaded.input_example)
    assert isinstance(answer, pd.DataFrame)
    assert list(answer.columns) == ["label", "probability", "probabilities"]
    (row,) = answer.to_dict("records")
    assert set(row["probabilities"]) == {"cat", "dog", "panda"}
    assert row["probability"] == row["probabilities"][row["label"]] == max(row["probabilities"].values())
    assert sum(row["probabilities"].values()) == pytest.approx(1)


def test_ten_crops_are_one_word(loaded: PyFuncModel, test_images: list[Path]) -> None:
    table = pd.DataFrame({"image": test_images[:3]})
    center, ten = loaded.predict(table), loaded.predict(table, params={"crops": "ten"})
    assert not np.allclose(center.probability, ten.probability)
    with pytest.raises(MlflowException, match="crops is 'eleven'; allowed: center, ten"):
        loaded.predict(table, params={"crops": "eleven"})


def test_a_file_that_is_no_image_is_the_clients_mistake(loaded: PyFuncModel, test_images: list[Path]) -> None:
    table = pd.DataFrame({"image": [test_images[0].read_bytes(), b"no image"]})
    with pytest.raises(MlflowException, match=r"^image 1: not an image in one of the formats") as caught:
        loaded.predict(table)
    assert caught.value.get_http_status_code() == 400  # type: ignore[no-untyped-call]


def test_the_limit_on_pixels_is_the_hosts_to_set(members: dict[str, Path], test_images: list[Path]) -> None:
    model = mlflow.pyfunc.load_model(uri_of(members["patchy"]), model_config={"max_pixels": 400})
    with pytest.raises(MlflowException, match="24x20 pixels are more than the 400 allowed"):
        model.predict(pd.DataFrame({"image": test_images[:1]}))


def test_a_classifier_on_features_does_not_ask_for_tensorflow(members: dict[str, Path]) -> None:
    def needed(name: str) -> set[str]:
        text = Path(mlflow.pyfunc.get_model_dependencies(uri_of(members[name]))).read_text(encoding="utf-8")
        return {line.partition("==")[0] for line in text.split()}

    assert needed("logistic") >= {"mlflow", "scikit-learn", "skops", "opencv-python-headless", "h5py"}
    assert not {"keras", "tensorflow-cpu", "tensorflow"} & needed("logistic")
    assert "keras" in needed("patchy")
    assert "skops" not in needed("patchy")


def test_it_runs_far_from_this_checkout_with_the_code_that_was_logged(
    members: dict[str, Path], test_images: list[Path], tmp_path: Path
) -> None:
    script = (
        "import sys, mlflow, pandas as pd\n"
        "images = [open(path, 'rb').read() for path in sys.argv[2:]]\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "model.predict(pd.DataFrame({'image': images})).to_json('found.json', orient='records')\n"
        "import stages; print(stages.__file__)\n"
    )
    words = [sys.executable, "-c", script, uri_of(members["logistic"]), *test_images]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip().splitlines()[-1]).is_relative_to(ROOT)
    answers = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))

    local = mlflow.artifacts.download_artifacts(uri_of(members["logistic"]))
    classifier = Classifier(Path(local) / "artifacts" / "bundle")
    expected = classifier(test_images, views="center", max_pixels=10_000)
    np.testing.assert_allclose(
        [list(answer["probabilities"].values()) for answer in answers], expected, atol=1e-6
    )
