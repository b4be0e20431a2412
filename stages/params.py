"""The params: one typed class per stage, read from the params.yaml that Hydra composed from conf/.

Every stage checks the whole file before it works, so that a wrong model setting stops the pipeline in the
first second and not after an hour of resizing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from stages.common import plugins
from stages.common.errors import ParamsError
from stages.common.section import Fraction, Positive, Section, Seed, describe_error
from stages.data import sizing, sources
from stages.models import extractors, learners, protocols
from stages.scoring import weighting
from stages.serving.verdict import Promote

if TYPE_CHECKING:
    Source = sources.SourceParams
    Extractor = protocols.ExtractorParams
    Model = protocols.LearnerParams
else:
    Source = plugins.union(sources.__name__)
    Extractor = plugins.union(extractors.__name__)
    Model = plugins.union(learners.__name__)

PACKED = "data/packed"
# What no member may be called, as promote.candidate means something else by it.
TAKEN = {"ensemble": "the average of all", "best": "whichever is best on the val split"}
# DVC's run cache leaves these keys out of what it compares, at any depth of a listed section.
_IGNORED_BY_DVC = ("size", "nfiles")


def _seen_by_dvc(name: str) -> str:
    if name in _IGNORED_BY_DVC:
        raise PydanticCustomError("name", "DVC's run cache ignores a key of that name; choose another")
    return name


# Names of extractors and members become folders, DVC stage names and MLflow run names.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_seen_by_dvc)]


class NearDuplicates(Section):
    """How many of the 64 bits of near duplicates' hashes may differ; null looks for no near duplicates."""

    # Above 16, most pairs are images of no likeness.
    distance: Annotated[int, Field(ge=0, le=16)] | None


class Ingest(Section):
    """Where the images come from, which are taken, and how they are split; fractions are of each class.

    With `split: from_path` the source says which split an image is in, by a folder named train, val or test
    or in words of its own (a column, an official test set); only a split that it lacks is cut out of train.
    `damaged: accept` takes JPEGs some of whose pixels are the decoder's guesses, and counts them.
    `verify: always` reads every file; `changed` reads a file only when its size, times or inode have changed.
    """

    source: Source
    max_pixels: Positive
    damaged: Literal["reject", "accept"]
    verify: Literal["changed", "always"]
    split: Literal["content", "from_path"]
    val_fraction: Fraction
    test_fraction: Fraction
    max_reject_fraction: Annotated[float, Field(ge=0, le=1)]
    near_duplicates: NearDuplicates
    seed: Seed

    @model_validator(mode="after")
    def _leave_some_to_train_on(self) -> Self:
        held_out = self.val_fraction + self.test_fraction
        if held_out >= 1:
            raise PydanticCustomError(
                "split",
                "val_fraction + test_fraction is {sum}; must be less than 1",
                {"sum": f"{held_out:g}"},
            )
        return self


class Drift(Section):
    """The accepted profile (null: none), and from which distance, of 0 to 1, drift warns and stops."""

    reference: Annotated[Path, Field(strict=False)] | None
    warn: Fraction
    stop: Fraction


class Audit(Section):
    """How many images of each class the report shows, and what counts as drift."""

    samples: Positive
    drift: Drift


class Resize(Section):
    """The size in pixels every image gets, `[height, width]`, and how; see `stages.data.sizing.View`."""

    size: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    keep_aspect: bool
    color: Literal["rgb", "gray"]
    quality: sizing.Quality

    @property
    def view(self) -> sizing.View:
        """What every image becomes."""
        height, width = self.size
        return sizing.View(height, width, self.color, self.keep_aspect, self.quality)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every resized image."""
        height, width = self.size
        return height, width, 3 if self.color == "rgb" else 1


class Pack(Section):
    """The seed of the one shuffle that decides the order of images."""

    seed: Seed


class Predict(Section):
    """What a member trained on patches sees of an image: its centre, or ten crops, half of them mirrored.

    Mirroring makes another class of digits, text and the like; nothing in the data says so, so no check can.
    """

    crops: Literal["center", "ten"]


def _weighting(value: Any) -> str | None:
    return "each" if isinstance(value, dict) else "chosen" if value in get_args(weighting.Choice) else None


Weights = Annotated[
    Annotated[weighting.Choice, Tag("chosen")]
    | Annotated[dict[str, Annotated[float, Field(gt=0)]], Tag("each")],
    # Without it, pydantic reports what is wrong with the value under either reading.
    Discriminator(
        _weighting,
        custom_error_type="weights",
        custom_error_message="allowed: uniform, val_accuracy, greedy, or a positive number for each member",
    ),
]


class Ensemble(Section):
    """Whose class probabilities are averaged, and how they are weighed.

    `val_accuracy` and `greedy` take the weights from the val split (stages/scoring/weighting.py); those given
    for each member are relative, on any positive scale.
    """

    members: Annotated[list[str], Field(min_length=1)]
    weights: Weights

    @model_validator(mode="after")
    def _weigh_each_member_once(self) -> Self:
        if len(set(self.members)) != len(self.members):
            raise PydanticCustomError(
                "members",
                "members is {members}; must name each member once",
                {"members": ", ".join(self.members)},
            )
        if isinstance(self.weights, dict) and set(self.weights) != set(self.members):
            raise PydanticCustomError(
                "weights",
                "weights names {weights}; must name exactly the members: {members}",
                {"weights": ", ".join(self.weights), "members": ", ".join(self.members)},
            )
        return self


class Evaluate(Section):
    """Number of equal-width confidence bins of the expected calibration error."""

    calibration_bins: Positive


class Printed(Section):
    """A number that a book prints for this experiment, and how far below it ours may stay.

    `of` is the member, or `ensemble`, that ours is taken from, and `metric` one of reports/metrics.json.
    No stage reads it: the reproduction table and the report do.
    """

    of: str
    metric: Literal["accuracy", "rank5_accuracy"]
    value: Annotated[float, Field(gt=0, le=1)]
    tolerance: Annotated[float, Field(ge=0, lt=1)]
    source: Annotated[str, Field(min_length=1)]


class Params(Section):
    """The whole params.yaml."""

    recipe: Name
    book: list[Printed]
    seed: Seed
    ingest: Ingest
    audit: Audit
    resize: Resize
    pack: Pack
    extractors: dict[Name, Extractor]
    models: Annotated[dict[Name, Model], Field(min_length=1)]
    predict: Predict
    ensemble: Ensemble
    evaluate: Evaluate
    promote: Promote

    @model_validator(mode="after")
    def _name_only_what_exists(self) -> Self:
        inputs = [PACKED, *(f"features/{name}" for name in self.extractors)]
        for name, model in self.models.items():
            _refuse(f"models.{name}.input", model.input, inputs)
        for member in self.ensemble.members:
            _refuse("ensemble.members", member, list(self.models))
        for number, printed in enumerate(self.book):
            _refuse(f"book.{number}.of", printed.of, [*self.models, "ensemble"])
        _refuse("promote.candidate", self.promote.candidate, [*TAKEN, *self.models])
        for name in set(TAKEN) & set(self.models):
            raise PydanticCustomError("name", f"models.{name}: the name is taken by {TAKEN[name]}")
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
        values = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise ParamsError(f"{path} does not exist; run from the project's root") from None
    except OSError as error:
        raise ParamsError(f"{path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError(f"{path}: {describe_error(error, values)}") from None


def _refuse(key: str, value: str, allowed: list[str]) -> None:
    if value not in allowed:
        raise PydanticCustomError(
            "reference",
            "{key} is {value}; allowed: {allowed}",
            {"key": key, "value": repr(value), "allowed": ", ".join(allowed)},
        )
