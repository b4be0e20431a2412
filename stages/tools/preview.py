"""preview: what the members' augmentation does to training images, before any of them is trained."""

from pathlib import Path

from stages import cli
from stages.common import log
from stages.common.errors import ParamsError
from stages.common.files import replace_folder_atomically
from stages.data import store
from stages.models.learners import cnn
from stages.models.protocols import LearnerParams
from stages.report.figures import augmented


@cli.command(models="models")
def preview(models: dict[str, LearnerParams], *, packed: Path, sheets: Path) -> None:
    """Draw augmented training images of every member that augments, one sheet NAME.png per member.

    Args:
        models: The members' params, by name.
        packed: The folder of packed images.
        sheets: The folder to write. Earlier sheets there are replaced; anything else is refused.

    Raises:
        ParamsError: When no member augments its training images.
        LearnerError: A member's patch is larger than the images.
    """
    with store.Reader(packed / "train.h5") as rows, replace_folder_atomically(sheets, ["*.png"]) as partial:
        sheets_by_member = {
            name: augmented.sheet(
                rows,
                getattr(params, "augment", None),
                cnn.patch_size(params, rows) if isinstance(params, cnn.Params) else None,
            )
            for name, params in models.items()
        }
        drawn = {name: sheet for name, sheet in sheets_by_member.items() if sheet}
        for name, sheet in drawn.items():
            sheet.savefig(partial / f"{name}.png")
        if not drawn:
            raise ParamsError(
                "no model has an augment section; give one a set of conf/augment in the recipe's defaults: "
                f"/augment@models.{next(iter(models))}.augment: a1"
            )
    log.event("drew_augmentation", models=", ".join(drawn), folder=sheets)


if __name__ == "__main__":
    cli.main(preview)
