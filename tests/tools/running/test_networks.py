"""What networks, their weights and their precision are checked for before images are resized."""

from pathlib import Path

import pytest
import yaml

from stages import params
from stages.common import keras_import
from stages.common.errors import LearnerError
from stages.tools.running import networks
from stages.tools.running.networks import check_in_process, check_networks
from tests.networks import defaults
from tests.paths import ROOT


@pytest.mark.slow
def test_a_layer_to_unfreeze_from_that_the_backbone_does_not_have_is_named() -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    tuned = defaults("fine_tuning")
    tuned["body"] |= {"weights": None, "options": {"alpha": 0.35}}
    tuned["fine_tune"]["unfreeze"] = "block_16_projekt"
    values["models"]["lenet"] = tuned
    values["resize"] |= {"size": [32, 32], "color": "rgb"}
    message = "models.lenet: fine_tune.unfreeze is 'block_16_projekt'; no layer .*: block_16_project"
    with pytest.raises(LearnerError, match=message):
        check_networks(params.Params.model_validate(values))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cnn", "fine_tuning"])
def test_a_precision_that_needs_a_gpu_is_refused_where_there_is_none(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_import, "gpus", list)
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    if kind == "fine_tuning":
        values["models"]["lenet"] = defaults(kind)
    values["models"]["lenet"]["train"]["precision"] = "float16"
    message = "models.lenet: train.precision is float16; it needs a GPU: use float32 or bfloat16"
    with pytest.raises(LearnerError, match=f"^{message}$"):
        check_networks(params.Params.model_validate(values))


@pytest.mark.slow
def test_networks_are_checked_once_for_a_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(networks, "_RESULT", tmp_path / "checked.json")
    path, log = Path("params.yaml"), tmp_path / "log"
    checked = params.load(path)
    check_in_process(checked, path, log)
    assert "Checking that networks and weights fit images of" in capsys.readouterr().out
    check_in_process(checked, path, log)
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(SystemExit):
        check_in_process(checked, path, log)
    assert "KERAS_BACKEND is torch; allowed: tensorflow, jax" in capsys.readouterr().err
