"""What the recipes of the books that have not been run would cost: writes results/costs.csv.

`python -m benchmarks.recipe_costs` trains a few batches of each network, or extracts a few features with it,
and the same with `minivggnet_cifar10_no_bn`, whose hours results/reproduction.csv has: it has no batch
normalization, which later code computes faster than the recorded trainings did. The images are random, and
no weights are loaded, so neither data sets nor downloads are needed. CPU seconds are compared. Run it on
an idle machine: beside a test suite ResNet came out at 5 hours, idle at 3.2 and 3.9. Decoding, and fitting a
linear classifier on features, are left out.
"""

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import images
from stages import cli
from stages import params as typed
from stages.common.errors import ParamsError
from stages.data import store
from stages.models import learners
from stages.models.extractors import keras_applications
from stages.models.learners import cnn, fine_tuning
from stages.models.protocols import LearnerParams
from stages.params import Params
from stages.report.pages import costs, reproduction
from stages.tools.reproduce import COSTS, RESULTS, read_books
from stages.tools.running import composing

_UNIT = "minivggnet_cifar10_no_bn"
# At least so many images: a batch of MiniVGGNet. The first of three epochs compiles, the others are measured.
_IMAGES, _EPOCHS = 64, 3


class DataSet(NamedTuple):
    """Images of the train split, images in all, and classes."""

    train: int
    images: int
    classes: int


# By the file, folder or name of a source; conf/dataset has where they come from.
DATA_SETS = {
    "cifar10": DataSet(48_000, 60_000, 10),
    "flowers17": DataSet(884, 1_360, 17),
    "animals": DataSet(1_950, 3_000, 3),
    "caltech101": DataSet(5_640, 8_677, 101),
    "dogs_vs_cats.zip": DataSet(20_000, 25_000, 2),
    "tiny-imagenet-200": DataSet(90_000, 110_000, 200),
    "sign_digits": DataSet(1_712, 2_062, 10),
    # The text does not say how many; its batches and figures fit these.
    "cats_dogs": DataSet(120, 318, 2),
}


def estimate(recipes: list[str] | None = None) -> None:
    """Measure recipes, and write the hours that they would take where `minivggnet_cifar10_no_bn` was trained.

    Args:
        recipes: Files of conf/recipe, without the ending; none: those of a book that have no result. One that
            has a result is printed, beside which its own hours can be held, and not written.

    Raises:
        ParamsError: A recipe is wrong.
    """
    results = reproduction.read(RESULTS)
    run = {result.recipe for result in results}
    # The fastest of its runs: a training that shared its machine took longer.
    unit_hours = min(
        result.epochs * result.epoch_seconds / 3600
        for result in results
        if result.recipe == _UNIT and result.epochs and result.epoch_seconds
    )
    unit_seconds = cpu_seconds(composed(_UNIT))
    hours = costs.read(COSTS)
    for name in recipes or [name for name in read_books() if name not in run]:
        times = cpu_seconds(composed(name)) / unit_seconds
        hours[name] = times * unit_hours
        print(f"{name}: {times:.3g} times {_UNIT}, {hours[name]:.2g} hours", flush=True)
    costs.write(COSTS, {name: cost for name, cost in hours.items() if name not in run})


def cpu_seconds(params: Params) -> float:
    """What training all members takes, or extracting their features."""
    source = params.ingest.source
    data = DATA_SETS[getattr(source, "name", None) or Path(source.path).name]
    shape = (*params.resize.size, 3 if params.resize.color == "rgb" else 1)
    return sum(_member(params, params.models[name], data, shape) for name in params.ensemble.members)


def composed(recipe: str) -> Params:
    """The params that `dvc exp run -S recipe=…` would run with."""
    with tempfile.TemporaryDirectory(prefix="convoy-costs-") as work:
        path = Path(work) / "params.yaml"
        composing.compose(Path("conf"), [f"recipe={recipe}"], path)
        return typed.load(path)


def _member(params: Params, member: LearnerParams, data: DataSet, shape: tuple[int, ...]) -> float:
    if isinstance(member, cnn.Params | fine_tuning.Params):
        return _training(member, data, shape)
    extractor = params.extractors[Path(member.input).name]
    if not isinstance(extractor, keras_applications.Params):
        raise ParamsError(f"extractors of kind {extractor.kind} are not estimated")
    extract = keras_applications.prepare(extractor.model_copy(update={"weights": None}), shape)
    rows = np.random.default_rng(0).integers(0, 256, (32, *shape), np.uint8)
    extract(rows)
    started = time.process_time()
    extract(rows)
    return (time.process_time() - started) / len(rows) * data.images


def _training(member: cnn.Params | fine_tuning.Params, data: DataSet, shape: tuple[int, ...]) -> float:
    """The CPU seconds of all epochs, from those of short ones, of which each phase's first compiles."""
    phases, short = _shortened(member)
    ends: list[float] = []
    count = -(-_IMAGES // member.train.batch_size) * member.train.batch_size
    with tempfile.TemporaryDirectory(prefix="convoy-costs-") as work:
        images.packed_noise(Path(work) / "train.h5", (count, *shape), data.classes)
        images.packed_noise(Path(work) / "val.h5", (1, *shape), data.classes)
        with store.Reader(Path(work) / "train.h5") as train, store.Reader(Path(work) / "val.h5") as val:
            learners.create(short).fit(train, val, lambda *_: ends.append(time.process_time()))
    return sum(
        epochs * data.train / count * (last - first) / (_EPOCHS - 1)
        for epochs, first, last in zip(phases, ends[::_EPOCHS], ends[_EPOCHS - 1 :: _EPOCHS], strict=True)
    )


def _shortened(member: cnn.Params | fine_tuning.Params) -> tuple[list[int], LearnerParams]:
    """The epochs of each phase, and the member with short phases."""
    short = {"epochs": _EPOCHS, "steps": None}
    if isinstance(member, cnn.Params):
        optimizer = member.optimizer.model_copy(update={"schedule": "constant"})
        train = member.train.model_copy(update=short)
        return [member.train.epochs or 0], member.model_copy(update={"optimizer": optimizer, "train": train})
    phases = [member.warm_up, *([member.fine_tune] if member.fine_tune else [])]
    changes = {
        "body": member.body.model_copy(update={"weights": None}),
        "warm_up": member.warm_up.model_copy(update=short),
        "fine_tune": member.fine_tune and member.fine_tune.model_copy(update=short),
    }
    return [phase.epochs or 0 for phase in phases], member.model_copy(update=changes)


if __name__ == "__main__":
    cli.main(estimate)
