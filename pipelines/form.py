"""The trigger form: a recipe, the knobs that most runs turn, anything else as overrides; and the runner."""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from airflow.sdk import Param

from pipelines.config import CODE, Config
from pipelines.runners import RUNNERS

# Field of the form → the params it sets; `*` stands for every member that has it.
KNOBS = {
    "epochs": "models.*.train.epochs",
    "batch_size": "models.*.train.batch_size",
    "val_fraction": "ingest.val_fraction",
    "test_fraction": "ingest.test_fraction",
    "seed": "seed",
}


def fields(config: Config) -> dict[str, Param]:
    """The form's fields. An empty knob leaves what the recipe says."""
    names = recipes(CODE / "conf" / "recipe")
    return {
        "recipe": Param(
            default_recipe(CODE / "conf" / "config.yaml") if names else "",
            type="string",
            enum=names,
            title="Recipe",
            description="What to train on which images: a file of conf/recipe/.",
        ),
        "epochs": _knob("integer", "Epochs", "Passes over the training images, of every network.", 1, 10_000),
        "batch_size": _knob("integer", "Batch size", "Images per step, of every network.", 1, 65_536),
        "image_size": _knob(
            "integer", "Image size", "Height and width in pixels that all are brought to.", 8, 2048
        ),
        "val_fraction": _knob("number", "Validation fraction", "Of the images of each class.", 0.01, 0.5),
        "test_fraction": _knob("number", "Test fraction", "Of the images of each class.", 0.01, 0.5),
        "seed": _knob("integer", "Seed", "Of splits, weights and order.", 0, 2**31 - 1),
        "overrides": Param(
            [],
            type=["null", "array"],
            items={"type": "string", "pattern": r"^[+~]{0,2}[\w.*/@]+(=.*)?$"},
            title="Overrides",
            description="Any other value, one per line, as Hydra writes it: models.lenet.input=features/hog",
        ),
        "runner": Param(
            config.runner,
            type="string",
            enum=RUNNERS,
            title="Runner",
            description="Where stages run: on this host, in containers, or in a cluster.",
        ),
    }


def overrides(values: Mapping[str, Any]) -> list[str]:
    """What a filled form says, as Hydra overrides; those written out come last and so have the last word."""
    size = values.get("image_size")
    return [
        f"recipe={values['recipe']}",
        *(f"{key}={values[name]}" for name, key in KNOBS.items() if values.get(name) is not None),
        *([f"resize.size=[{size},{size}]"] if size else []),
        *(values.get("overrides") or []),
    ]


def recipes(folder: Path) -> list[str]:
    """The names of the recipes."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def default_recipe(path: Path) -> str:
    """The recipe in the defaults of conf/config.yaml."""
    defaults = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["defaults"]  # noqa: S506
    return str(next(one["recipe"] for one in defaults if isinstance(one, dict) and "recipe" in one))


def _knob(kind: str, title: str, description: str, least: float, most: float) -> Param:
    return Param(
        None,
        type=["null", kind],
        minimum=least,
        maximum=most,
        title=title,
        description=f"{description} From {least} to {most}; empty: as the recipe says.",
        section="Common knobs",
    )


def grid(lines: list[str]) -> list[list[str]]:
    """Overrides for every point: `a=1,2` and `b=x` are `[a=1, b=x]` and `[a=2, b=x]`.

    A comma inside brackets belongs to the value: `resize.size=[16,16],[32,32]` has two.
    """
    choices = []
    for line in lines:
        key, _, values = line.partition("=")
        choices.append([f"{key}={value}" for value in re.split(r",(?![^\[{(]*[\]})])", values)])
    return [list(point) for point in itertools.product(*choices)]
