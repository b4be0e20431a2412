"""Which initializer or activation suits a network: the comparison that Starter Bundle ch. 10 advises.

`python -m benchmarks.network_styles MEMBER initializer --data data/packed --seeds 1 2 3` trains the member of
params.yaml with each value of the option and each seed, all else the same. `make sweep` with
conf/sweep/style.yaml draws both options at random with one seed: it searches, and compares nothing.
"""

from pathlib import Path
from statistics import fmean, stdev
from typing import Literal, get_args

from benchmarks import trainings
from benchmarks.harness import markdown
from stages import cli
from stages.common.errors import ParamsError
from stages.models.learners import cnn
from stages.models.networks._layers import Style
from stages.models.protocols import LearnerParams

Option = Literal["activation", "initializer"]


@cli.command(params="models.{name}")
def compare(
    name: str,
    option: Option,
    *,
    params: LearnerParams,
    data: Path,
    seeds: trainings.Seeds = [1, 2, 3],  # noqa: B006 (never changed)
) -> None:
    """Print val accuracy and val log loss of each value of the option, the lowest log loss first.

    Args:
        name: A member of params.yaml whose learner is a network.
        option: The option of the network to vary.
        params: The member's params.
        data: The folder of packed images.
        seeds: Train once per seed and value, two seeds or more; the split stays the same.

    Raises:
        ParamsError: When the member's learner is no network, its network lacks the option, or there is one
            seed.
    """
    member = trainings.network(name, params)
    if not isinstance(member.options, Style):
        raise ParamsError(f"models.{name}.network is {member.network}, which has no option {option}")
    if len(seeds) < 2:
        raise ParamsError("--seeds has one seed; allowed: two or more, as one says nothing of chance")
    rows = []
    for value in get_args(Style.model_fields[option].annotation):
        options = member.options.model_copy(update={option: value})
        changed = member.model_copy(update={"options": options})
        accuracies, losses = zip(
            *(_fit(trainings.seeded(changed, seed), data) for seed in seeds), strict=True
        )
        rows.append((fmean(losses), f"`{value}`", _described(accuracies), _described(losses)))
        print(f"{value}: {rows[-1][2]}", flush=True)
    print(f"\n{name}, network {member.network}, seeds {seeds}\n")
    print(markdown((option, "val accuracy", "val log loss"), [row[1:] for row in sorted(rows)]))


def _fit(params: cnn.Params, packed: Path) -> tuple[float, float]:
    """Train, and return accuracy and log loss on the val split."""
    predictions = trainings.predictions(trainings.train(params, packed), packed / "val.h5")
    return predictions.accuracy, predictions.log_loss


def _described(values: tuple[float, ...]) -> str:
    """The mean, and the standard deviation over the seeds."""
    return f"{fmean(values):.4f} ± {stdev(values):.4f}"


if __name__ == "__main__":
    cli.main(compare)
