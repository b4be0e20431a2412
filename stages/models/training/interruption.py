"""SIGTERM during a training: a request to write a checkpoint and stop; and the rest of an epoch.

A spot instance, `kubectl drain` and a cancelled task send SIGTERM and kill some seconds later. Python's
default dies at once and loses all batches since the last checkpoint. Here the signal is noted; the training
looks after each batch, writes its state and stops with the exit status of a transient error.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from stages.common import ranks
from stages.common.errors import TrainingInterruptedError
from stages.data.loader import Batch, Loader
from stages.models.training import processes


class Interruption:
    """Whether SIGTERM has come."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, *_: object) -> None:
        """Note the signal."""
        self.requested = True

    def look(self) -> None:
        """Take in what has come; called once after each batch."""


class SharedInterruption(Interruption):
    """Whether SIGTERM has come to any of the processes that train together.

    All see it after the same batch: one that stopped alone would leave the others waiting for it in the next.
    """

    def look(self) -> None:
        """Ask the others."""
        self.requested = self.requested or processes.stop_requested()


@contextmanager
def noted() -> Iterator[Interruption]:
    """Note SIGTERM within the block instead of dying of it.

    Python sets handlers in its main thread only; elsewhere nothing changes.

    Raises:
        TrainingInterruptedError: the signal came after the last batch, or the block raised this on seeing it.
    """
    if ranks.read().count > 1:
        yield SharedInterruption()
        return
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    previous = signal.signal(signal.SIGTERM, interruption.request)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGTERM, previous)
    if interruption.requested:
        raise TrainingInterruptedError("SIGTERM stopped the training after its last batch; run it again")


class Remainder(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """The batches of an epoch from number `first` on; there must be some."""

    def __init__(self, loader: Loader, first: int) -> None:
        super().__init__()
        self._loader, self._first = loader, first

    def __len__(self) -> int:
        return len(self._loader) - self._first

    def __getitem__(self, number: int) -> Batch:
        return self._loader[self._first + number]

    def on_epoch_end(self) -> None:
        """Keras calls this between epochs."""
        self._loader.on_epoch_end()
