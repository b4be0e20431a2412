"""What the textbooks print of a recipe's experiment: the section `book` of the params."""

from typing import Annotated, Literal

from pydantic import Field

from stages.common.section import Section

# What a relation calls the mean of a run's members.
MEMBERS = "members"


class Printed(Section):
    """A figure that a book prints for this experiment. Only the reproduction table and the report read it."""

    of: str = Field(description="The member, or `ensemble`, whose figure is compared.")
    metric: Literal["accuracy", "top5_accuracy"] = Field(description="A metric of reports/metrics.json.")
    split: Literal["test", "val"] = Field(
        default="test", description="The split that the book measures on, or what stands for it here."
    )
    value: Annotated[float, Field(gt=0, le=1)] = Field(description="The book's figure.")
    tolerance: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="How far below the book's figure ours may be."
    )
    source: Annotated[str, Field(min_length=1)] = Field(description="Book, chapter and place.")


class Relation(Section):
    """A statement of a book that one result is above another. Only the reproduction table reads it."""

    of: str = Field(description="The member, or `ensemble`, whose accuracy is the higher one.")
    above: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*\.)?[a-z][a-z0-9_]*$")] = Field(
        description="What it is above: RECIPE.MEMBER, a MEMBER of this recipe, or `members`: their mean."
    )
    split: Literal["test", "val"] = Field(default="test", description="The split that both are measured on.")
    source: Annotated[str, Field(min_length=1)] = Field(description="Book, chapter and place.")

    def lower(self, recipe: str) -> tuple[str, str]:
        """The recipe and the name of the lower result, where `recipe` is the one that states the relation."""
        other, _, name = self.above.rpartition(".")
        return other or recipe, name


class Book(Section):
    """What a book prints for this experiment."""

    figures: list[Printed] = Field(default_factory=list, description="Its figures.")
    relations: list[Relation] = Field(
        default_factory=list,
        description="What it states about two results; a recipe that starts from another has its own, or [].",
    )
