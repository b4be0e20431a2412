"""Small networks, trained in a second on the images of conftest."""

from pathlib import Path
from typing import Any

import hydra
import yaml
from omegaconf import OmegaConf

from stages.common.history import History
from stages.data.store import Reader
from stages.models.learners import cnn
from tests.paths import ROOT


def params(**changes: Any) -> cnn.Params:
    """The default recipe's LeNet with another network, in small."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"]["lenet"]
    values |= {
        "network": "shallownet",
        "code": "stages/models/networks/shallownet.py",
        "normalize": "standardize",
    }
    train = values["train"] | {"epochs": 3, "batch_size": 8, "seed": 1} | changes.pop("train", {})
    return cnn.Params.model_validate(values | {"train": train} | changes)


def defaults(kind: str) -> dict[str, Any]:
    """The params of conf/model/KIND.yaml with its groups filled in."""
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base=None):
        composed = hydra.compose("config", [f"+model@models.member={kind}"])
    OmegaConf.resolve(composed)
    values: dict[str, Any] = yaml.safe_load(OmegaConf.to_yaml(composed.models.member))
    return values


def optimizer(kind: str, **changes: Any) -> dict[str, Any]:
    """The params of conf/optimizer, changed."""
    groups = [
        yaml.safe_load((ROOT / "conf/optimizer" / f"{name}.yaml").read_text()) for name in ("base", kind)
    ]
    return groups[0] | {key: value for key, value in groups[1].items() if key != "defaults"} | changes


def everything_with_a_state() -> dict[str, Any]:
    """MiniVGGNet's dropout and batch statistics, augmentation, momentum, averages, a plateau, the best."""
    values: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    augment = yaml.safe_load((ROOT / "conf/augment/base.yaml").read_text()) | {"shift": 0.2}
    net = values["models"]["minivggnet"] | {"augment": augment}
    net["optimizer"] = optimizer("sgd", ema_momentum=0.9, schedule={"kind": "plateau", "patience": 1})
    net["train"] |= {
        "epochs": 6,
        "batch_size": 8,
        "keep": "best",
        "early_stopping": {"patience": 5, "min_delta": 0.0},
        "checkpoint_every": 2,
        "save_epochs": 3,
        "deterministic": True,
    }
    return values | {"models": {"net": net}, "ensemble": {"members": ["net"], "weights": "uniform"}}


def fitted(folder: Path, **changes: Any) -> tuple[cnn.Network, History, list[int]]:
    """A network, its history, and the numbers of the epochs it reported."""
    network, reported = cnn.create(params(**changes)), []
    with Reader(folder / "train.h5") as train, Reader(folder / "val.h5") as val:
        history = network.fit(train, val, lambda number, values: reported.append(number))
    return network, history, reported
