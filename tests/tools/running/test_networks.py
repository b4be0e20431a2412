"""What networks and their weights are checked for before images are resized."""

import pytest
import yaml

from stages import params
from stages.common.errors import LearnerError
from stages.tools.running.networks import check_networks
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
