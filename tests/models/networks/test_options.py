"""The options of networks are checked with the params, before any stage works, and without Keras."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import params
from stages.common.errors import ParamsError
from stages.models import networks
from tests.paths import ROOT


def loaded(folder: Path, **model: Any) -> params.Params:
    """The committed params with other values for one network."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    if "network" in model:
        model["code"] = f"stages/models/networks/{model['network']}.py"
    values["models"]["lenet"] |= model
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return params.load(path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"options": {"reg": 0.1}},
            "models.lenet.options: unknown key reg; allowed: activation, initializer",
        ),
        (
            {"network": "minivggnet", "options": {"batch_norm": True}},
            "unknown key batch_norm (did you mean batch_normalization?); allowed: activation, batch_norm",
        ),
        (
            {"network": "minivggnet", "options": {"batch_normalization": "no"}},
            "models.lenet.options.batch_normalization is 'no'; must be a valid boolean",
        ),
        (
            {"network": "mlp", "options": {"widths": []}},
            "models.lenet.options.widths: has 0 entries; must have at least 1",
        ),
        (
            {"network": "mlp", "options": {"activation": "step"}},
            "models.lenet.options.activation is 'step'; must be 'sigmoid', 'tanh', ",
        ),
        (
            {"network": "resnet", "options": {"stages": [3, 4], "filters": [64, 64]}},
            "models.lenet.options: filters has 2 numbers; must have 3: the stem's, and one",
        ),
        (
            {"network": "resnet", "options": {"filters": [64, 64, 64, 30]}},
            "models.lenet.options.filters.3 is 30; a bottleneck has a quarter of the filters: must be divis",
        ),
        (
            {"network": "keras_applications"},
            "models.lenet: normalize is 'scale'; allowed with keras_applications: network",
        ),
        (
            {"normalize": "network"},
            "models.lenet: normalize is 'network'; allowed with lenet: scale, standardize",
        ),
        ({"options": None}, "models.lenet.options is None; must be a mapping"),
    ],
)
def test_a_wrong_option_is_one_line_that_says_what_is_allowed(
    tmp_path: Path, model: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        loaded(tmp_path, **model)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_are_logged_with_the_other_params(tmp_path: Path) -> None:
    checked = loaded(tmp_path, network="resnet", options={"stages": [1], "filters": [8, 8]})
    logged = checked.models["lenet"].model_dump()["options"]
    style = {"activation": "relu", "initializer": "glorot_uniform"}
    own = {"stages": [1], "filters": [8, 8], "stem": "cifar", "reg": 0.0001, "residual_reg": None}
    assert logged == style | own


def test_a_network_that_is_not_there_is_the_only_thing_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="allowed: alexnet, alexnet2012, ") as caught:
        loaded(tmp_path, network="lenett", options={"reg": 1})
    assert "reg" not in str(caught.value)


@pytest.mark.parametrize("name", networks.names())
def test_no_option_has_a_key_that_the_run_cache_ignores(name: str) -> None:
    assert not {"size", "nfiles"} & set(networks.options(name).model_fields)


def test_the_options_of_every_network_import_no_keras() -> None:
    script = (
        "import sys; from stages.models import networks\n"
        "for name in networks.names(): networks.options(name)\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
