"""preview: what the members' augmentation does to training images, before any of them is trained.

`make preview RECIPE=name` packs the recipe's images and draws some of them.
"""

from collections.abc import Mapping
from pathlib import Path

from stages import cli, params
from stages.common import log
from stages.common.errors import ParamsError
from stages.common.files import replace_folder_atomically
from stages.data import store
from stages.data.augment import Augment
from stages.models.learners import cnn
from stages.models.protocols import LearnerParams
from stages.report.figures import augmented
from stages.tools import _experiment

_PARAMS = Path("params.yaml")
_SHEETS = Path("reports/preview")


def preview(*, recipe: str | None = None, set: str = "") -> None:  # noqa: A002 (the option's name)
    """Pack images and draw augmented training images into reports/preview.

    Args:
        recipe: A file of conf/recipe, without its ending; by default params.yaml as it is, with `set` the
            default recipe.
        set: `KEY=VALUE` words, separated by blanks, as -S of `dvc exp run`.

    Raises:
        UsageError: `set` has a quote without its end.
        LockedError: Another run is under way in this folder.
        ParamsError: A param is wrong, or no member augments its training images.
        SourceError: DVC cannot read the source.
        LearnerError: A member's patch is larger than the images.
    """
    changes = _experiment.changes_of(recipe, set)
    _experiment.prepare(changes, "pack", check=lambda checked: augmentations(checked.models))
    draw(params.load(_PARAMS).models, Path(params.PACKED), _SHEETS)


def augmentations(models: Mapping[str, LearnerParams]) -> dict[str, Augment]:
    """The augmentation of every member that has one, by the member's name.

    Args:
        models: The members' params, by name.

    Raises:
        ParamsError: No member augments its training images.
    """
    by_network: dict[str, Augment | None] = {
        name: settings.augment for name, settings in models.items() if hasattr(settings, "augment")
    }
    if not by_network:
        raise ParamsError(
            "no member trains a network (kind cnn or fine_tuning), and no other augments images"
        )
    by_member = {name: augment for name, augment in by_network.items() if augment is not None}
    if not by_member:
        key = f"augment@models.{next(iter(by_network))}.augment"
        raise ParamsError(
            "no member has an augment section; choose a set of conf/augment: in the recipe's defaults, as "
            f"/{key}: a1, or as SET=+{key}=a1"
        )
    return by_member


def draw(models: Mapping[str, LearnerParams], packed: Path, sheets: Path) -> None:
    """Draw augmented training images of every member that augments, one sheet NAME.png per member.

    Args:
        models: The members' params, by name.
        packed: The folder of packed images.
        sheets: The folder to write. Earlier sheets there are replaced; anything else is refused.

    Raises:
        ParamsError: No member augments its training images.
        LearnerError: A member's patch is larger than the images.
    """
    by_member = augmentations(models)
    with store.Reader(packed / "train.h5") as rows, replace_folder_atomically(sheets, ["*.png"]) as partial:
        for name, augment in by_member.items():
            settings = models[name]
            patch = cnn.patch_size(settings, rows) if isinstance(settings, cnn.Params) else None
            augmented.sheet(rows, augment, patch).savefig(partial / f"{name}.png")
    log.event("drew_augmentation", models=", ".join(by_member), folder=sheets)


if __name__ == "__main__":
    cli.main(preview)
