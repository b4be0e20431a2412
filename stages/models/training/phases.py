"""The callbacks of a phase of a training, in their order."""

from dataclasses import dataclass
from pathlib import Path

import keras

from stages.common import log, ranks
from stages.common.history import CHECKPOINTS, History, OnEpoch
from stages.data.loader import Loader
from stages.models.training import callbacks, epoch_checkpoints, rates, saving, schedules, snapshots
from stages.models.training.callbacks import Best, Span
from stages.models.training.checkpoints import State
from stages.models.training.interruption import Interruption
from stages.models.training.monitor import Monitor
from stages.models.training.optimizers import AnyOptimizer
from stages.models.training.settings import Settings


@dataclass(frozen=True)
class Shared:
    """What the callbacks of all phases share; `training.loop.Trainer` says what each is."""

    settings: Settings
    train: Loader
    history: History
    on_epoch: OnEpoch
    folder: Path | None
    monitor: Monitor
    best: Best | None


@dataclass(frozen=True)
class Phase:
    """One phase: its optimizer, its epochs, the progress that is shown, and whether SIGTERM has come."""

    optimizer: AnyOptimizer
    span: Span
    progress: log.Progress
    requested: Interruption


def callbacks_of(shared: Shared, phase: Phase, state: State | None) -> list[keras.callbacks.Callback]:
    """Make the callbacks for one `fit` of a phase; saving.Checkpoint is the last.

    Args:
        shared: what all phases have.
        phase: the phase.
        state: the checkpoint that the phase resumes from; None begins it.
    """
    settings, history, span, schedule = shared.settings, shared.history, phase.span, phase.optimizer.schedule
    averaging = keras.callbacks.SwapEMAWeights() if phase.optimizer.ema_momentum else None
    # Keras would look for it among the metrics, which a training that resumes may not have built yet.
    mode = "max" if settings.monitor == "val_accuracy" else "min"
    replayed = rates.callbacks(schedule, settings.monitor, mode)
    if stopping := settings.early_stopping:
        replayed.append(
            keras.callbacks.EarlyStopping(settings.monitor, stopping.min_delta, stopping.patience, mode=mode)
        )
    chosen: list[keras.callbacks.Callback] = []
    if shared.best:
        chosen.append(callbacks.KeepBest(shared.best))
    if averaging:
        chosen.append(averaging)
    # Watch notes the rate of the epoch before a plateau lowers it.
    chosen.append(callbacks.Watch(shared.train, span, history, shared.on_epoch, phase.progress))
    chosen += [callbacks.Draw(shared.monitor, history), *replayed]
    if shared.folder is None:
        return chosen
    if settings.save_epochs and ranks.is_first():
        folder = shared.folder / CHECKPOINTS
        chosen.append(epoch_checkpoints.Save(folder, settings.save_epochs, settings.monitor, history))
    if settings.keep == "snapshots" and ranks.is_first():
        every = (span.end - span.first) // schedules.cycles(schedule)
        folder = shared.folder / snapshots.FOLDER
        chosen.append(epoch_checkpoints.Save(folder, every, settings.monitor, history, span.first))
    when = saving.CheckpointTimes(shared.folder, settings.checkpoint_every, settings.checkpoint_minutes)
    checkpoint = saving.Checkpoint(
        when, span, history, shared.best, replayed, averaging, state, phase.requested
    )
    return [*chosen, checkpoint]
