"""The learning-rate range test (L. Smith, Cyclical Learning Rates for Training Neural Networks, 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from stages.common.errors import LearnerError
from stages.data.loader import Loader

# A rate that surely changes nothing, and one that surely diverges.
LOWEST, HIGHEST = 1e-6, 10.0
# The loss of a batch is noisy: it is averaged with those before it, which count less by this factor a step.
_SMOOTHING = 0.95
# The share of the rates in which the average fills up; the first value is the loss of one batch.
_FILLING = 0.1
# A smoothed loss this many times the lowest does not fall again.
_DIVERGED = 4.0


@dataclass(frozen=True)
class RangeTest:
    """The rates tried, each for one batch, and the smoothed loss after each."""

    rates: list[float]
    losses: list[float]

    @property
    def _filled(self) -> int:
        """The number of the first rate whose average counts."""
        return int(_FILLING * len(self.rates))

    @property
    def steepest(self) -> float:
        """The rate at which the loss falls fastest on the logarithmic scale.

        Raises:
            LearnerError: the loss never falls.
        """
        slopes = np.gradient(self.losses, np.log(self.rates))[self._filled :]
        if not len(slopes) or slopes.min() >= 0:
            raise LearnerError("the loss falls at no learning rate; look at the data and at normalize")
        return self.rates[self._filled + int(slopes.argmin())]

    @property
    def tenth_of_lowest(self) -> float:
        """A tenth of the rate with the lowest loss: the highest that is likely to train well."""
        return self.rates[self._filled + int(np.argmin(self.losses[self._filled :]))] / 10

    @property
    def suggested(self) -> float:
        """The rate to start with: the lower of both.

        The averaged loss lags behind by some twenty rates, half a power of ten, so its steepest fall may be
        above a tenth of the rate with the lowest loss.

        Raises:
            LearnerError: the loss never falls.
        """
        return min(self.steepest, self.tenth_of_lowest)


def run(model: keras.Model, batches: Loader, steps: int) -> RangeTest:
    """Train a compiled model with a rate that grows by the same factor every batch, until the loss diverges.

    Args:
        model: compiled; of no use afterwards.
        batches: repeated as often as needed.
        steps: the number of rates.
    """
    rates = np.geomspace(LOWEST, HIGHEST, steps).tolist()
    losses: list[float] = []
    average = 0.0
    for step, rate in enumerate(rates):
        epoch, number = divmod(step, len(batches))
        if not number:
            batches.begin(epoch)
        model.optimizer.learning_rate.assign(rate)
        model.reset_metrics()
        loss = float(model.train_on_batch(*batches[number], return_dict=True)["loss"])
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        # Without it, the first values would be drawn to zero.
        losses.append(average / (1 - _SMOOTHING ** (step + 1)))
        if not np.isfinite(loss) or losses[-1] > _DIVERGED * min(losses):
            break
    return _finite(rates, losses)


def _finite(rates: Sequence[float], losses: Sequence[float]) -> RangeTest:
    pairs = [(rate, loss) for rate, loss in zip(rates, losses, strict=False) if np.isfinite(loss)]
    return RangeTest([rate for rate, _ in pairs], [loss for _, loss in pairs])
