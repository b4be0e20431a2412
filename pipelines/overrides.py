"""What a filled trigger form means: Hydra overrides, of one run or of every point of a grid."""

import itertools
import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any

import yaml

from pipelines.graph import Settings
from pipelines.worker.lines import without_login

# Field of the form → the params it sets; `*` is every member that has the rest of the key.
FIELD_KEYS = {
    "epochs": "models.*.train.epochs",
    "batch_size": "models.*.train.batch_size",
    "val_fraction": "ingest.val_fraction",
    "test_fraction": "ingest.test_fraction",
    "seed": "seed",
    "split_seed": "split_seed",
}
# A text in quotes, or one character.
_PIECE = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|.""", re.DOTALL)


class FormError(Exception):
    """The form is filled in a way that no run can mean. The text goes into the run's note, without logins."""

    def __init__(self, text: str) -> None:
        super().__init__(without_login(text))


def check_field_names(submitted: Collection[str], allowed: Collection[str]) -> None:
    """Refuse a field that the form does not have: Airflow ignores what the API sends beyond its params.

    Raises:
        FormError: With the nearest field's name.
    """
    for name in submitted:
        if name not in allowed:
            nearest = get_close_matches(name, allowed, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise FormError(f"the form has no field {name}{hint} (it has {', '.join(allowed)})")


def from_form(values: Mapping[str, Any]) -> list[str]:
    """Turn a filled form into Hydra overrides, those of the fields first.

    Raises:
        FormError: A field and an override set the same param to different values, or a field has no meaning
            with another.
    """
    if values.get("gpus") is not None and values.get("runner") == "process":
        raise FormError(
            "gpus is for the runners docker and kubernetes: with process, a stage sees all GPUs of the host"
        )
    size = values.get("image_size")
    from_fields = [
        *(f"{key}={values[name]}" for name, key in FIELD_KEYS.items() if values.get(name) is not None),
        *([f"resize.size=[{size},{size}]"] if size else []),
    ]
    recipe = [f"recipe={values['recipe']}"] if values["recipe"] else []
    lines = [*recipe, *from_fields, *(values.get("overrides") or [])]
    _check_contradictions(lines)
    return lines


def check_backend(stages: Mapping[str, Settings], runner: str, backend: str) -> None:
    """Refuse several processes and GPUs where Keras' backend, or the runner's image for it, has none.

    Args:
        stages: By name, the settings of stages in this run.
        runner: The runner's name.
        backend: KERAS_BACKEND of the stages; empty for Keras' own default.

    Raises:
        FormError: With the first such stage.
    """
    for stage, settings in stages.items():
        if settings.nodes > 1 and backend != "jax":
            raise FormError(
                f"nodes of {stage} is {settings.nodes}; several processes train under JAX alone, and "
                f"KERAS_BACKEND is {backend or 'not set'}: start Airflow with KERAS_BACKEND=jax"
            )
        if backend == "jax" and settings.gpu and settings.image == "train" and runner != "process":
            raise FormError(
                f"gpu of {stage} is {settings.gpu} and KERAS_BACKEND is jax; the image train-gpu has no JAX: "
                f"name an image with JAX for GPUs under meta: of {stage} in dvc.yaml"
            )


def check_pools(tasks: Mapping[str, Settings], slots_of: Callable[[str], float | None]) -> None:
    """Refuse tasks that Airflow would let wait for a slot for ever, without a word on any page.

    Args:
        tasks: By name, the settings of the tasks of this run.
        slots_of: Gives the slots of a pool, None where that cannot be known; raises LookupError where Airflow
            has no such pool.

    Raises:
        FormError: With the first such task or pool.
    """
    slots: dict[str, float | None] = {}
    for pool in dict.fromkeys(settings.pool for settings in tasks.values()):
        try:
            slots[pool] = slots_of(pool)
        except LookupError:
            raise FormError(
                f"Airflow has no pool {pool}; create it on the page Admin, Pools, or by: "
                f"airflow pools set {pool} SLOTS DESCRIPTION"
            ) from None
    for name, settings in tasks.items():
        available = slots[settings.pool]
        if available is not None and settings.slots > available:
            raise FormError(
                f"{name} takes {settings.slots} of a pool's slots, for {settings.nodes} x {settings.gpu} "
                f"(nodes x GPUs of each), and Airflow's pool {settings.pool} has {available}: choose "
                "fewer nodes or GPUs, another pool, or give it more slots on the page Admin, Pools"
            )


def forms(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the forms of `train` that a filled form of `sweep` means, one for each point of its grid.

    Where the grid has recipes, they stand in for that of the form.

    Raises:
        FormError: As `from_form` and `grid` do.
    """
    form = {name: value for name, value in values.items() if name not in ("grid", "rank_by")}
    if any(line.startswith("recipe=") for line in values["grid"]):
        form["recipe"] = ""
    points = grid(values["grid"], from_form(form))
    return [form | {"overrides": [*(form["overrides"] or []), *point]} | _recipe(point) for point in points]


def _recipe(point: list[str]) -> dict[str, str]:
    """The form's field of a point that names a recipe."""
    return {
        key: value.strip() for key, _, value in (line.partition("=") for line in point) if key == "recipe"
    }


def grid(lines: list[str], common: list[str]) -> list[list[str]]:
    """List the overrides of every point of a grid.

    `a=1,2` and `b=x` are `[a=1, b=x]` and `[a=2, b=x]`. A comma inside brackets or quotes belongs to the
    value: `resize.size=[16,16],[32,32]` has two.

    Args:
        lines: The grid's axes.
        common: Overrides that every point shares, those of the fields included.

    Raises:
        FormError: Two points set the same params to the same values, or an axis contradicts `common`.
    """
    axes = []
    for line in lines:
        key, _, values = line.partition("=")
        axes.append([f"{key}={value}" for value in _split(values)])
    points = [list(point) for point in itertools.product(*axes)]
    for number, point in enumerate(points):
        _check_contradictions(common + point)
        for earlier in points[:number]:
            if dict(map(_parsed, earlier)) == dict(map(_parsed, point)):
                raise FormError(f"two points of the grid are the same run: {earlier} and {point}")
    return points


def _split(text: str) -> list[str]:
    """The values between the commas that are in no brackets and no quotes."""
    values, depth = [""], 0
    for piece in _PIECE.findall(text):
        depth += (piece in "[{(") - (piece in ")}]")
        if piece == "," and depth == 0:
            values.append("")
        else:
            values[-1] += piece
    return values


def _check_contradictions(lines: list[str]) -> None:
    """Refuse two values for the same key. A key with `*` yields to one that names the member."""
    values: dict[str, tuple[Any, str]] = {}
    for line in lines:
        if "=" not in line:
            continue
        key, value = _parsed(line)
        if key in values and values[key][0] != value:
            raise FormError(f"{key} is set twice: {values[key][1]} and {line}; keep one of them")
        values[key] = value, line


def _parsed(line: str) -> tuple[str, Any]:
    """Key and value of an override; 1 and 1.0 are the same value, `1` and `'1'` are not."""
    key, _, value = line.partition("=")
    try:
        return key.lstrip("+~"), yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        return key.lstrip("+~"), value
