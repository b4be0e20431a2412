"""The params: one typed class per stage, read from the params.yaml that Hydra composed from conf/.

Every stage checks the whole file before it starts, so that a wrong setting of a model stops the pipeline in
the first second and not after an hour of resizing.
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
from stages.common.section import Fraction, Positive, Section, Seed, describe_error, hint
from stages.data import sizing, sources
from stages.data.crops import Crops
from stages.models import extractors, learners, protocols
from stages.scoring import ENSEMBLE, weighting
from stages.scoring.books import MEMBERS, Book
from stages.scoring.promotion import Promote

if TYPE_CHECKING:
    Source = sources.SourceParams
    Extractor = protocols.ExtractorParams
    Model = protocols.LearnerParams
else:
    Source = plugins.union(sources.__name__)
    Extractor = plugins.union(extractors.__name__)
    Model = plugins.union(learners.__name__)

PACKED = "data/packed"
# What no member may be called, as promote.challenger means something else by it.
TAKEN = {ENSEMBLE: "the average of all", "best": "whichever is best on the val split"}
# DVC's run cache leaves these keys out of what it compares, at any depth of a listed section.
_IGNORED_BY_DVC = ("size", "nfiles")


def _check_dvc_compares(name: str) -> str:
    if name in _IGNORED_BY_DVC:
        raise PydanticCustomError("name", "DVC's run cache ignores a key of that name; choose another")
    return name


# Names of extractors and members become folders, DVC stage names and MLflow run names.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_check_dvc_compares)]


class NearDuplicates(Section):
    """What counts as a near duplicate."""

    # Above 16, most pairs are images without any likeness.
    distance: Annotated[int, Field(ge=0, le=16)] | None = Field(
        description="How many of the 64 bits of two perceptual hashes may differ; null: look for none."
    )


class Ingest(Section):
    """Where the images come from, which are accepted, and how they are split."""

    source: Source = Field(description="Where the images come from.")
    max_pixels: Positive = Field(description="Larger images are rejected before they are decoded.")
    damaged: Literal["reject", "accept"] = Field(
        description="accept: take JPEGs and PNGs with pixels that the decoder guesses, and count them."
    )
    verify: Literal["changed", "always"] = Field(
        description="always: read every file. changed: only files whose path, size, times or inode changed."
    )
    split: Literal["content", "from_path"] = Field(
        description="content: by a hash of seed and content. from_path: as the source says, by a folder "
        "named train, val or test, a column, or an official test set; a missing split is cut out of train."
    )
    val_fraction: Fraction = Field(description="The val split's share of each class.")
    test_fraction: Fraction = Field(description="The test split's share of each class.")
    train_val_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="The share of each class's train images that is held out as the split train_val, of the "
        "same kind of images as train; networks are measured on it, to tell variance from a val split of "
        "other images (Practitioner Bundle ch. 8). 0: no such split."
    )
    max_reject_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        description="With a larger share of rejects the stage fails; exact duplicates do not count."
    )
    near_duplicates: NearDuplicates = Field(description="What counts as a near duplicate.")
    seed: Seed = Field(description="The seed of the split.")

    @model_validator(mode="after")
    def _check_fractions_leave_training_data(self) -> Self:
        held_out = self.val_fraction + self.test_fraction
        if held_out >= 1:
            raise PydanticCustomError(
                "split",
                "val_fraction + test_fraction is {sum}; must be less than 1",
                {"sum": f"{held_out:g}"},
            )
        return self


class Drift(Section):
    """The reference profile, and what counts as drift; docs/drift.md has the rules."""

    reference: Annotated[Path, Field(strict=False)] = Field(
        description="The profile that a person accepted; conf/no_reference.json, of no images: no comparison."
    )
    false_alarms: Annotated[float, Field(ge=0.001, lt=1)] = Field(
        description="The highest chance that a run on unchanged data warns or stops, over all figures."
    )
    warn: Fraction = Field(description="The distance, 0 to 1, from which a significant difference warns.")
    stop: Fraction = Field(description="The distance from which a significant difference stops the pipeline.")

    @model_validator(mode="after")
    def _check_warns_before_it_stops(self) -> Self:
        if self.warn > self.stop:
            raise PydanticCustomError(
                "drift",
                "warn is {warn}; must be at most stop, {stop}",
                {"warn": f"{self.warn:g}", "stop": f"{self.stop:g}"},
            )
        return self


class Audit(Section):
    """What the data report shows, and what counts as drift."""

    samples: Positive = Field(description="The number of images of each class that the report shows.")
    drift: Drift = Field(description="What counts as drift.")


class Resize(Section):
    """The form that every image gets; see `stages.data.sizing.View`."""

    size: Annotated[list[Positive], Field(min_length=2, max_length=2)] = Field(
        description="[height, width] in pixels."
    )
    keep_aspect: bool = Field(
        description="true: scale the shorter side and cut the longer one; false: scale both sides."
    )
    color: Literal["rgb", "gray"] = Field(description="Three channels or one.")
    quality: sizing.Quality = Field(
        description="exact: resize the decoded image. fast: decode JPEGs at a part of their size first."
    )

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
    """The order of the packed images."""

    seed: Seed = Field(description="The seed of the one shuffle that decides the order.")


class Predict(Section):
    """What members trained on patches see of an image.

    Mirroring turns digits and letters into another class; the data do not say so, and no check can.
    """

    crops: Crops = Field(
        description="center: the middle. ten: the middle and the corners, each mirrored, too."
    )


def _kind_of_weights(value: Any) -> str | None:
    return "each" if isinstance(value, dict) else "chosen" if value in get_args(weighting.Choice) else None


Weights = Annotated[
    Annotated[weighting.Choice, Tag("chosen")]
    | Annotated[dict[str, Annotated[float, Field(gt=0)]], Tag("each")],
    # Without it, pydantic reports the errors of both branches of the union.
    Discriminator(
        _kind_of_weights,
        custom_error_type="weights",
        custom_error_message="allowed: uniform, val_accuracy, greedy, or a positive number for each member",
    ),
]


class Ensemble(Section):
    """Which members' class probabilities are averaged, and with which weights."""

    members: Annotated[list[str], Field(min_length=1)] = Field(description="Names of models.")
    weights: Weights = Field(
        description="uniform; val_accuracy or greedy: from the val split (stages/scoring/weighting.py); or a "
        "positive number for each member, relative to the others."
    )

    @model_validator(mode="after")
    def _check_each_member_has_one_weight(self) -> Self:
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
    """How members are scored."""

    calibration_bins: Positive = Field(
        description="The number of equal-width confidence bins of the expected calibration error."
    )


class Params(Section):
    """The whole params.yaml."""

    recipe: Name = Field(description="The recipe's name: the experiment and the registered model in MLflow.")
    book: Book = Field(description="What a book prints for this recipe.")
    seed: Seed = Field(description="The seed of training that conf/ hands to all sections.")
    split_seed: Seed = Field(
        description="The seed of the splits; a new seed leaves few images new to the champion."
    )
    ingest: Ingest = Field(description="Which images, and their splits.")
    audit: Audit = Field(description="The data report.")
    resize: Resize = Field(description="The size and colours of images.")
    pack: Pack = Field(description="The order of images.")
    extractors: dict[Name, Extractor] = Field(description="Extractors of features, by name.")
    models: Annotated[dict[Name, Model], Field(min_length=1)] = Field(description="Members, by name.")
    predict: Predict = Field(description="What members see of an image.")
    ensemble: Ensemble = Field(description="The weighted average of members.")
    evaluate: Evaluate = Field(description="How members are scored.")
    promote: Promote = Field(description="What may become the champion.")

    @model_validator(mode="after")
    def _check_references_exist(self) -> Self:
        inputs = [PACKED, *(f"features/{name}" for name in self.extractors)]
        for name, model in self.models.items():
            _check_exists(f"models.{name}.input", model.input, inputs)
        for member in self.ensemble.members:
            _check_exists("ensemble.members", member, list(self.models))
        results = [*self.models, ENSEMBLE]
        for number, printed in enumerate(self.book.figures):
            _check_exists(f"book.figures.{number}.of", printed.of, results)
        for number, relation in enumerate(self.book.relations):
            _check_exists(f"book.relations.{number}.of", relation.of, results)
            recipe, name = relation.lower(self.recipe)
            if recipe == self.recipe:
                others = [result for result in (*results, MEMBERS) if result != relation.of]
                _check_exists(f"book.relations.{number}.above", name, others)
        _check_exists("promote.challenger", self.promote.challenger, [*TAKEN, *self.models])
        for name in set(TAKEN) & set(self.models):
            raise PydanticCustomError("name", f"models.{name}: the name is taken by {TAKEN[name]}")
        return self

    def at(self, key: str) -> Any:
        """Return the value at a dotted key.

        Raises:
            ParamsError: When there is none.
        """
        value: Any = self
        for part in key.split("."):
            values = value if isinstance(value, dict) else dict(value)
            if part not in values:
                raise ParamsError(
                    f"params have no {key}{hint(part, values)}; allowed here: {', '.join(sorted(values))}"
                )
            value = values[part]
        return value


def load(path: Path) -> Params:
    """Read and check a params file.

    Args:
        path: A YAML file, as Hydra composes it from conf/.

    Raises:
        ParamsError: With one line for all mistakes: every wrong key, its value and what is allowed.
    """
    try:
        values = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise ParamsError(f"{path} does not exist; run from the project's root") from None
    except OSError as error:
        raise ParamsError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise ParamsError(f"{path} is not valid YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a date such as 2026-13-45, or a number of more than 4,300 digits.
        raise ParamsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError(f"{path}: {describe_error(error, values)}") from None


def _check_exists(key: str, value: str, allowed: list[str]) -> None:
    if value not in allowed:
        raise PydanticCustomError(
            "reference",
            "{key} is {value}{hint}; allowed: {allowed}",
            {"key": key, "value": repr(value), "hint": hint(value, allowed), "allowed": ", ".join(allowed)},
        )
