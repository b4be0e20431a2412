"""learning_rate_finder: a network's loss over the learning rate, before any time is spent on training it."""

from pathlib import Path

from stages import cli
from stages.common import log
from stages.common.errors import ParamsError
from stages.common.files import replace_atomically, write_json
from stages.data import store
from stages.models.learners import cnn
from stages.models.protocols import LearnerParams

# Enough for seven orders of magnitude; with fewer, one noisy batch decides.
_STEPS = 300


@cli.command(params="models.{name}")
def find_learning_rate(name: str, *, params: LearnerParams, data: Path, sheets: Path) -> None:
    """Draw a network's loss over the learning rate, and suggest the rate to start with.

    Trains the member for 300 batches, from its initial weights, with its own optimizer and a rate that grows
    from 1e-6 to 10. Reads only the train split. Writes NAME.png and NAME.json.

    Args:
        name: A member whose learner is a network.
        params: The member's params.
        data: The folder of packed images.
        sheets: The folder to write into.

    Raises:
        ParamsError: When the member's learner is no network.
        LearnerError: When the loss never falls.
    """
    if not isinstance(params, cnn.Params):
        raise ParamsError(f"models.{name} is of kind {params.kind}; must be cnn")
    with store.Reader(data / "train.h5") as rows:
        result = cnn.Network(None, params).range_test(rows, _STEPS)
    # Drawing takes a second to import; a wrong member is refused without it.
    from stages.report.figures import charts

    steepest, highest = result.steepest, result.highest
    figure = sheets / f"{name}.png"
    with replace_atomically(figure) as partial:
        charts.range_test(result.rates, result.losses, steepest).savefig(partial, format="png")
    write_json(
        sheets / f"{name}.json",
        {"steepest": steepest, "highest": highest, "rates": result.rates, "losses": result.losses},
    )
    log.event("suggested_learning_rate", rate=f"{steepest:.1e}", at_most=f"{highest:.1e}", figure=figure)


if __name__ == "__main__":
    cli.main(find_learning_rate)
