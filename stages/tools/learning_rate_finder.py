"""find_learning_rate: a network's loss over the learning rate, before any time is spent on training it."""

from pathlib import Path

from stages import cli
from stages.common import log
from stages.common.errors import ParamsError
from stages.common.files import replacing, write_json
from stages.data import store
from stages.models.learners import cnn
from stages.models.protocols import LearnerParams

# Enough for seven orders of magnitude; with fewer, one noisy batch decides.
_STEPS = 300


@cli.stage(params="models.{name}")
def find_learning_rate(name: str, *, params: LearnerParams, data: Path, sheets: Path) -> None:
    """Write NAME.png and NAME.json into the folder `sheets`, and say which rate to begin with.

    The member is trained for 300 batches, from its own weights, with its own optimizer and a rate that grows
    from 1e-6 to 10. Only the train split is read.
    Raises ParamsError for a member that is no network, LearnerError when the loss never falls.
    """
    if not isinstance(params, cnn.Params):
        raise ParamsError(f"models.{name} is of kind {params.kind}; must be cnn")
    with store.Reader(data / "train.h5") as rows:
        found = cnn.Network(None, params).range_test(rows, _STEPS)
    from stages.report.figures import charts

    steepest, highest = found.steepest, found.highest
    sheets.mkdir(parents=True, exist_ok=True)
    with replacing(sheets / f"{name}.png") as aside:
        charts.range_test(found.rates, found.losses, steepest).savefig(aside, format="png")
    write_json(
        sheets / f"{name}.json",
        {"steepest": steepest, "highest": highest, "rates": found.rates, "losses": found.losses},
    )
    log.event(
        "found", learning_rate=f"{steepest:.1e}", at_most=f"{highest:.1e}", figure=sheets / f"{name}.png"
    )


if __name__ == "__main__":
    cli.main(find_learning_rate)
