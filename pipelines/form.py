"""The trigger form: a recipe, the params that most runs change, any other as overrides, and the runner."""

from pathlib import Path

from airflow.sdk import Param

from pipelines import graph, recipes
from pipelines.config import CODE, DVC_YAML, Config
from pipelines.runners import RUNNERS

_RESOURCES = "Resources"


def fields(config: Config) -> dict[str, Param]:
    """Build the form's fields. An empty field leaves what the recipe says."""
    return _recipe(config) | _common_params() | _overrides() | _ways_to_run(config) | _resources()


def _recipe(config: Config) -> dict[str, Param]:
    names = recipes.names(CODE / "conf")
    return {
        "recipe": Param(
            recipes.default(CODE / "conf") if names else "",
            type="string",
            enum=names,
            values_display=recipes.labels(CODE / "conf", Path(config.data)),
            title="Recipe",
            description="What to train on which images: a file of conf/recipe/.",
        ),
    }


def _common_params() -> dict[str, Param]:
    return {
        "epochs": _number(
            "integer", "Epochs", "Passes over the training images, of every network.", 1, 10_000
        ),
        "batch_size": _number("integer", "Batch size", "Images per step, of every network.", 1, 65_536),
        "image_size": _number("integer", "Image size", "Height and width of all images in pixels.", 8, 2048),
        "val_fraction": _number("number", "Validation fraction", "Of the images of each class.", 0.01, 0.5),
        "test_fraction": _number("number", "Test fraction", "Of the images of each class.", 0.01, 0.5),
        "seed": _number("integer", "Seed", "Of weights and order in training.", 0, 2**31 - 1),
        "split_seed": _number(
            "integer",
            "Split seed",
            "Of the splits. A new value puts most test images among those the champion was trained on; "
            "a promotion is judged on the few images new to both, and refused below promote.min_images.",
            0,
            2**31 - 1,
        ),
    }


def _overrides() -> dict[str, Param]:
    return {
        "overrides": Param(
            [],
            type=["null", "array"],
            items={"type": "string", "pattern": r"^[+~]{0,2}[\w.*/@]+(=.*)?$"},
            title="Overrides",
            description="Any other param, one per line, as Hydra writes it: models.lenet.input=features/hog",
        ),
    }


def _ways_to_run(config: Config) -> dict[str, Param]:
    return {
        "force": Param(
            [],
            type=["null", "array"],
            items={"type": "string", "pattern": r"^[\w.-]+(@[\w.-]+)?$"},
            examples=list(graph.load(DVC_YAML)),
            title="Run although nothing changed",
            description="Stages that run in any case, with all their members; stages after them run if their "
            "outputs change. Through the API also one member: train@lenet.",
        ),
        "approval": Param(
            config.approval == "1",
            type="boolean",
            title="Approval",
            description="Wait for a person before `promote`; rejected: the champion stays, the run goes on.",
        ),
        "runner": Param(
            config.runner,
            type="string",
            enum=RUNNERS,
            title="Runner",
            description="Where stages run: on this host, in containers, or in a cluster.",
        ),
    }


def _resources() -> dict[str, Param]:
    return {
        "gpus": _number(
            "integer",
            "GPUs",
            "Of each stage of the image `train`, with the runners docker and kubernetes.",
            0,
            64,
            section=_RESOURCES,
            default="as dvc.yaml says",
        ),
        "nodes": _number(
            "integer",
            "Nodes",
            "Processes, containers or pods that train each network together, with KERAS_BACKEND=jax.",
            1,
            64,
            section=_RESOURCES,
            default="as dvc.yaml says",
        ),
        "priority": _number(
            "integer",
            "Priority",
            "Where tasks wait for a slot, those of a run with a higher priority go first.",
            0,
            1000,
            section=_RESOURCES,
            default="0",
        ),
        "pool": Param(
            None,
            type=["null", "string"],
            maxLength=256,
            title="Pool",
            description="The pool of Airflow whose slots the stages take, one for each GPU; a stage whose "
            "meta names a pool stays there. Empty: as dvc.yaml says.",
            section=_RESOURCES,
        ),
    }


def _number(
    kind: str,
    title: str,
    description: str,
    minimum: float,
    maximum: float,
    *,
    section: str = "Common params",
    default: str = "as the recipe says",
) -> Param:
    """A field for a number that may stay empty; `default` says what then holds."""
    return Param(
        None,
        type=["null", kind],
        # Not `minimum=`: the page would turn -3 into 1 without a word. This way the server refuses it.
        allOf=[{"minimum": minimum, "maximum": maximum}],
        title=title,
        description=f"{description} From {minimum} to {maximum}; empty: {default}.",
        section=section,
    )
