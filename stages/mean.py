"""mean: mean and standard deviation of each channel over the train split, and nothing but it."""

from pathlib import Path

from stages import cli
from stages.common import log
from stages.common.files import write_json
from stages.data import store
from stages.data.manifest import Manifest
from stages.data.statistics import ChannelStatistics


@cli.command()
def mean(*, manifest: Path, resized: Path, stats: Path) -> None:
    """Add up the channel sums of the training images (RGB order, values 0-255).

    Writes count, mean, m2 and std as JSON; see `ChannelStatistics`. Practitioner Bundle ch. 9.
    """
    table = Manifest.read(manifest)
    train = table.strings("split") == "train"
    with store.Reader(resized) as images:
        table.require(images.ids, resized)
        _, height, width, _ = images.shape
        totals, squares = images.column("sums")[train], images.column("squares")[train]
    statistics = ChannelStatistics.from_sums(totals, squares, height * width)
    write_json(stats, statistics.as_json())
    shown = {"mean": statistics.mean, "std": statistics.std}
    log.event(
        "computed_mean", images=int(train.sum()), **{k: [round(x, 2) for x in v] for k, v in shown.items()}
    )


if __name__ == "__main__":
    cli.main(mean)
