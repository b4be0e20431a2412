"""Exported networks give the members' probabilities; a member that is no network is refused in one line."""

from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest

from stages import cli
from stages.common.errors import ServingError
from stages.common.files import read_json
from stages.data import crops
from stages.models import networks
from stages.models.networks import _export
from stages.serving.classifier import Classifier
from stages.tools.export import export

pytestmark = pytest.mark.slow


def uri_of(folder: Path) -> str:
    return f"runs:/{read_json(folder / 'run.json')['run_id']}/model"


def exported(model: str, kind: str, to: Path) -> None:
    cli.main(export, ["--model", model, "--format", kind, "--to", str(to)])


@pytest.fixture
def pixels(test_images: list[Path]) -> np.ndarray:
    """The test split at the members' size, in colours as spec.json says, by nothing of this project."""
    images = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in test_images]
    # 20x24 → the middle 20x20 → 16x16.
    return np.stack([cv2.resize(image[:, 2:22], (16, 16), interpolation=cv2.INTER_AREA) for image in images])


def expected(model: str, test_images: list[Path]) -> np.ndarray:
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts(model)) / "artifacts" / "bundle"
    return Classifier(folder)(test_images, views="center", max_pixels=10_000)


def test_onnx_gives_the_probabilities_of_the_served_model(
    members: dict[str, Path],
    test_images: list[Path],
    pixels: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    pytest.importorskip("tf2onnx", reason="the extra `export` is not installed")
    model, to = uri_of(members["patchy"]), tmp_path / "exported"
    (temporary := tmp_path / "temporary").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(temporary))
        exported(model, "onnx", to)
    # The downloaded model was left there.
    assert not list(temporary.rglob("MLmodel"))
    assert {path.name for path in to.iterdir()} == {"spec.json", "patchy.onnx"}
    session = onnxruntime.InferenceSession(to / "patchy.onnx")
    middle = np.ascontiguousarray(
        crops.centre(pixels, tuple(read_json(to / "spec.json")["members"][0]["patch"]))
    )
    (probabilities,) = session.run(None, {session.get_inputs()[0].name: middle})
    np.testing.assert_allclose(probabilities, expected(model, test_images), atol=1e-4)


@pytest.mark.parametrize(
    "statistics",
    [None, {"mean": [120.0, 110.0, 100.0], "std": [60.0, 50.0, 40.0]}],
    ids=["scale", "standardize"],
)
def test_onnx_has_the_normalization_of_the_network(tmp_path: Path, statistics: Any) -> None:
    for module in ("onnxruntime", "tf2onnx"):
        pytest.importorskip(module, reason="the extra `export` is not installed")
    network = networks.build("shallownet", shape=(16, 16, 3), classes=3, statistics=statistics)
    network.save(tmp_path / "model.keras")
    assert _export.export(tmp_path / "model.keras", tmp_path / "model.onnx", "onnx") <= 1e-4


def test_a_network_that_onnx_cannot_hold_is_one_line(tmp_path: Path) -> None:
    for module in ("onnxruntime", "tf2onnx"):
        pytest.importorskip(module, reason="the extra `export` is not installed")
    pixels = keras.Input((4, 4, 1), dtype="uint8")
    flat = keras.layers.Flatten()(keras.ops.cast(pixels, "float32"))
    network = keras.Model(pixels, keras.layers.Dense(3, "softmax")(keras.layers.Dense(4, "gelu")(flat)))
    network.save(tmp_path / "model.keras")
    with pytest.raises(ServingError, match=r"ONNX cannot hold this network: .*Erf") as caught:
        _export.export(tmp_path / "model.keras", tmp_path / "model.onnx", "onnx")
    assert "\n" not in str(caught.value)


def test_probabilities_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    pixels = keras.Input((4, 4, 1), dtype="uint8")
    flat = keras.layers.Flatten()(keras.ops.cast(pixels, "float32"))
    network = keras.Model(pixels, keras.layers.Dense(3, "softmax", kernel_initializer="zeros")(flat))
    network.layers[-1].bias.assign([np.nan] * 3)
    network.save(tmp_path / "model.keras")
    with pytest.raises(ServingError, match="differ from Keras' by up to nan"):
        _export.export(tmp_path / "model.keras", tmp_path / "exported", "saved_model")


def test_a_saved_model_gives_the_probabilities_of_the_served_model(
    members: dict[str, Path], test_images: list[Path], pixels: np.ndarray, tmp_path: Path
) -> None:
    model, to = uri_of(members["patchy"]), tmp_path / "exported"
    to.mkdir()
    (to / "of_before.onnx").write_bytes(b"")
    (to / "thesis.txt").write_text("the only copy")
    with pytest.raises(SystemExit) as stopped:
        exported(model, "saved_model", to)
    assert stopped.value.code == 1
    (to / "thesis.txt").unlink()
    exported(model, "saved_model", to)
    assert {path.name for path in to.iterdir()} == {"spec.json", "patchy"}
    serve = keras.layers.TFSMLayer(to / "patchy", call_endpoint="serve")
    probabilities = np.asarray(serve(np.ascontiguousarray(crops.centre(pixels, (12, 12)))))
    np.testing.assert_allclose(probabilities, expected(model, test_images), atol=1e-4)


def test_a_classifier_on_features_is_no_network(
    members: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(
            export, ["--model", uri_of(members["logistic"]), "--format", "onnx", "--to", str(tmp_path / "x")]
        )
    assert stopped.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "level=error" in line]
    assert "only networks can be exported; these are none: logistic" in line
    assert not (tmp_path / "x").exists()
