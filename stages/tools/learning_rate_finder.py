"""learning_rate_finder: a network's loss over the learning rate, before any time is spent on training it.

`make find-learning-rate RECIPE=digits MEMBER=lenet` packs the recipe's images and draws the loss.
"""

from functools import partial
from pathlib import Path

from stages import cli, params
from stages.common import log
from stages.common.errors import ParamsError
from stages.common.files import replace_atomically, write_json
from stages.data import store
from stages.models.learners import cnn
from stages.params import Params
from stages.tools import _experiment

# Enough for seven orders of magnitude; with fewer, one noisy batch decides.
_STEPS = 300
_PARAMS = Path("params.yaml")
_SHEETS = Path("reports/learning_rate")


def find_learning_rate(
    member: str,
    *,
    recipe: str | None = None,
    set: str = "",  # noqa: A002 (the option's name)
) -> None:
    """Pack images and draw a network's loss over the learning rate, with the rate to start with.

    Args:
        member: A member whose learner is a network: a key of `models`.
        recipe: A file of conf/recipe, without its ending; by default params.yaml as it is, with `set` the
            default recipe.
        set: `KEY=VALUE` words, separated by blanks, as -S of `dvc exp run`.

    Raises:
        UsageError: `set` has a quote without its end.
        LockedError: Another run is under way in this folder.
        ParamsError: A param is wrong, or the member does not exist or is no network.
        SourceError: DVC cannot read the source.
        LearnerError: The loss never falls.
    """
    _experiment.prepare(_experiment.changes_of(recipe, set), "pack", check=partial(_network, member=member))
    draw(member, _network(params.load(_PARAMS), member), Path(params.PACKED), _SHEETS)


def _network(checked: Params, member: str) -> cnn.Params:
    settings = checked.at(f"models.{member}")
    if not isinstance(settings, cnn.Params):
        raise ParamsError(f"models.{member} is of kind {settings.kind}; must be cnn")
    return settings


def draw(name: str, settings: cnn.Params, packed: Path, sheets: Path) -> None:
    """Draw a network's loss over the learning rate, and suggest the rate to start with.

    Trains the member for 300 batches, from its initial weights, with its own optimizer and a rate that grows
    from 1e-6 to 10. Reads only the train split. Writes NAME.png and NAME.json.

    Args:
        name: The member's name.
        settings: The member's params.
        packed: The folder of packed images.
        sheets: The folder to write into.

    Raises:
        LearnerError: The loss never falls.
    """
    with store.Reader(packed / "train.h5") as rows:
        result = cnn.Network(None, settings).range_test(rows, _STEPS)
    # Drawing takes a second to import; a wrong member is refused without it.
    from stages.report.figures import charts

    suggested = result.suggested
    figure = sheets / f"{name}.png"
    with replace_atomically(figure) as partial_file:
        charts.range_test(result.rates, result.losses, suggested).savefig(partial_file, format="png")
    numbers = {
        "suggested": suggested,
        "steepest": result.steepest,
        "tenth_of_lowest": result.tenth_of_lowest,
        "rates": result.rates,
        "losses": result.losses,
    }
    write_json(sheets / f"{name}.json", numbers)
    log.event("suggested_learning_rate", rate=f"{suggested:.1e}", figure=figure)


if __name__ == "__main__":
    cli.main(find_learning_rate)
