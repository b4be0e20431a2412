"""A mistyped override is answered with the nearest key, not with Hydra's advice to prepend `+`."""

import hydra
import pytest
from hydra.errors import HydraException

from tests.paths import ROOT


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("models.lenet.train.epoch=3", "did you mean models.lenet.train.epochs?"),
        ("models.lent.train.epochs=3", "did you mean models.lenet.train.epochs?"),
        ("epochs=3", "did you mean models.lenet.train.epochs?"),
        ("resise.size=[1,2]", "did you mean resize.size?"),
        ("extractors.hog.zzz=2", "extractors.hog has kind, cell, block, bins; ++extractors.hog.zzz=… adds"),
        ("zzz=2", "the top level has book, seed, "),
        ("recipe=flower17", "there is no recipe flower17; did you mean flowers17?"),
        ("recipe=conf/recipe/flowers17", "there is no recipe conf/recipe/flowers17; did you mean flowers17?"),
        ("recipe=zzz", "there is no recipe zzz; conf/recipe has "),
    ],
)
def test_the_nearest_key_is_named(override: str, answer: str) -> None:
    with (
        hydra.initialize_config_dir(str(ROOT / "conf"), version_base=None),
        pytest.raises(HydraException) as error,
    ):
        hydra.compose("config", [override])
    assert answer in str(error.value)
    assert "use +" not in str(error.value)


def test_other_advice_of_hydra_stays() -> None:
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base=None):
        with pytest.raises(HydraException, match="Could not append to config"):
            hydra.compose("config", ["+seed=3"])
        assert hydra.compose("config", ["seed=3", "++resize.more=1"]).seed == 3
