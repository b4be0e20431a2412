"""The params: one typed class per stage, read from the params.yaml that Hydra composed from conf/.

Every stage checks the whole file before it works, so that a wrong model setting stops the pipeline in the
first second and not after an hour of resizing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from stages import extractors, learners, plugins
from stages.data import sources
from stages.errors import ParamsError
from stages.section import Fraction, Positive, Section, Seed

if TYPE_CHECKING:
    Source = sources.SourceParams
    Extractor = extractors.ExtractorParams
    Model = learners.LearnerParams
else:
    Source = plugins.union(sources.__name__)
    Extractor = plugins.union(extractors.__name__)
    Model = plugins.union(learners.__name__)

# Names of extractors and members become folders, DVC stage names and MLflow run names.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
PACKED = "data/packed"


class Ingest(Section):
    """Where the pictures come from and how they are split; fractions are of each class."""

    source: Source
    val_fraction: Fraction
    test_fraction: Fraction
    max_reject_fraction: Annotated[float, Field(ge=0, le=1)]
    seed: Seed

    @model_validator(mode="after")
    def _leave_some_to_train_on(self) -> Self:
        if 0 in (self.val_fraction, self.test_fraction) or self.val_fraction + self.test_fraction >= 1:
            raise PydanticCustomError(
                "split", "val_fraction and test_fraction must be above 0 and their sum below 1"
            )
        return self


class Resize(Section):
    """The size in pixels every picture gets, `[height, width]`, and how."""

    size: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    keep_aspect: bool
    color: Literal["rgb", "gray"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every resized picture."""
        height, width = self.size
        return height, width, 3 if self.color == "rgb" else 1


class Pack(Section):
    """The seed of the one shuffle that decides the order of pictures in the packed files."""

    seed: Seed


class Ensemble(Section):
    """Whose class probabilities are averaged; weights are relative, any positive scale."""

    members: Annotated[list[str], Field(min_length=1)]
    weights: Literal["uniform"] | dict[str, Annotated[float, Field(gt=0)]]

    @model_validator(mode="after")
    def _weigh_each_member_once(self) -> Self:
        if len(set(self.members)) != len(self.members):
            raise PydanticCustomError("members", "a member is named twice in ensemble.members")
        if isinstance(self.weights, dict) and set(self.weights) != set(self.members):
            raise PydanticCustomError(
                "weights",
                "ensemble.weights must name exactly the members: {members}",
                {"members": ", ".join(self.members)},
            )
        return self


class Evaluate(Section):
    """Number of equal-width confidence bins of the expected calibration error."""

    calibration_bins: Positive


class Params(Section):
    """The whole params.yaml."""

    recipe: Name
    seed: Seed
    ingest: Ingest
    resize: Resize
    pack: Pack
    extractors: dict[Name, Extractor]
    models: Annotated[dict[Name, Model], Field(min_length=1)]
    ensemble: Ensemble
    evaluate: Evaluate

    @model_validator(mode="after")
    def _name_only_what_exists(self) -> Self:
        inputs = [PACKED, *(f"features/{name}" for name in self.extractors)]
        for name, model in self.models.items():
            _refuse(f"models.{name}.input", model.input, inputs)
        for member in self.ensemble.members:
            _refuse("ensemble.members", member, list(self.models))
        if "ensemble" in self.models:
            raise PydanticCustomError("name", "models.ensemble: the name is taken by the ensemble itself")
        return self

    def at(self, key: str) -> Any:
        """The value at a dotted key. Raises ParamsError when there is none."""
        value: Any = self
        for part in key.split("."):
            inside = value if isinstance(value, dict) else dict(value)
            if part not in inside:
                raise ParamsError(f"params have no {key}; allowed here: {', '.join(sorted(inside))}")
            value = inside[part]
        return value


def load(path: Path) -> Params:
    """Read and check a params file.

    Raises ParamsError with one line: every wrong key, its value and what is allowed.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} does not exist; run from the project's root") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError(f"{path}: " + "; ".join(_line(one, values) for one in error.errors())) from None


def _refuse(key: str, value: str, allowed: list[str]) -> None:
    if value not in allowed:
        raise PydanticCustomError(
            "reference",
            "{key} is {value}; allowed: {allowed}",
            {"key": key, "value": repr(value), "allowed": ", ".join(allowed)},
        )


def _line(error: ErrorDetails, values: Any) -> str:
    """`models.lenet.train.epochs is -3: input should be greater than 0`."""
    place: list[str] = []
    for part in error["loc"]:
        inside = isinstance(values, dict) and part in values
        if inside or (isinstance(values, list) and isinstance(part, int)):
            values = values[part]
            place.append(str(part))
        elif error["type"] == "missing":
            place.append(str(part))
        # Other parts are pydantic's own names for the branch of a union, not keys of the file.
    key, message = ".".join(dict.fromkeys(place)), error["msg"][0].lower() + error["msg"][1:]
    if error["type"] == "missing":
        return f"{key} is missing"
    # The long values are whole sections, whose message already says which key is meant.
    shown = f" is {error['input']!r}" if not isinstance(error["input"], dict | list | Section) else ""
    return f"{key}{shown}: {message}" if key else message
