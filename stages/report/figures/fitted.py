"""A fitted member's scores, as numbers and figures in its MLflow run."""

from pathlib import Path

import numpy as np

from stages import tracking
from stages.common.history import History
from stages.data import portions, store
from stages.models import learners
from stages.models.protocols import Learner, LearnerParams
from stages.scoring import metrics
from stages.scoring.predictions import Predictions

# Images of the train split that are scored, and of train-val; the standard error of their error is 1.1 points
# at most.
_SAMPLE = 2_000


def log_val(run: tracking.Run, learner: Learner, history: History, val: store.Reader) -> dict[str, float]:
    """Log how a member does on the val split, as numbers and figures, and its learning curves.

    Args:
        run: The MLflow run of the training.
        learner: The fitted member.
        history: Values of each epoch; empty for learners without epochs.
        val: The val split.

    Returns:
        The scores, by name.
    """
    # Of a training that is refused, none is drawn.
    from stages.report.figures import charts, results

    classes: list[str] = val.provenance["classes"]
    predictions = Predictions(val.ids, val.column("labels"), learners.predict_all(learner, val))
    scores = metrics.score(predictions, metrics.DEFAULT_BINS)
    run.metrics({f"final_val_{name}": value for name, value in scores.items()})
    images = val.take if len(val.shape) == 4 else None
    results.log_results(run, "val", predictions, classes, images)
    if history:
        run.figure(charts.history(history), "learning_curves.png")
    return scores


def log_samples(
    run: tracking.Run, learner: Learner, rows: store.Reader, held_out: Path
) -> dict[str, dict[str, float]]:
    """Log how the delivered weights do on samples of train and of train-val.

    Args:
        run: The MLflow run of the training.
        learner: The fitted member.
        rows: The train split.
        held_out: The file of the train-val split, which data need not have.

    Returns:
        The scores by name, by split.
    """
    scores = {"train": _log_sample(run, learner, rows, "train")}
    if held_out.exists():
        with store.Reader(held_out) as train_val:
            scores["train_val"] = _log_sample(run, learner, train_val, "train_val")
    return scores


def _log_sample(run: tracking.Run, learner: Learner, rows: store.Reader, split: str) -> dict[str, float]:
    """Score the first 2,000 images without augmentation and dropout; packed rows are in random order.

    The history's training accuracy is no train error: it is measured on augmented images, with dropout, while
    weights change. Costs a forward pass: a third of an epoch up to 2,000 images, 1 % of one at 50,000.
    """
    count, size = min(len(rows), _SAMPLE), portions.size(rows.shape)
    parts = [learner.predict_proba(rows.read(at, min(at + size, count))) for at in range(0, count, size)]
    sample = Predictions(rows.ids[:count], rows.column("labels")[:count], np.concatenate(parts))
    scores = metrics.score(sample, metrics.DEFAULT_BINS)
    run.metrics({f"final_{split}_{name}": value for name, value in scores.items()})
    return scores


def delivered_epoch(params: LearnerParams, history: History) -> float:
    """The epoch, from 1, whose weights a network ends with: the last, or with `keep: best` the best.

    Epochs of a training that this one continues (phase 0) do not count: their weights are not kept.

    Args:
        params: The network's params.
        history: Values of each epoch.
    """
    settings = getattr(params, "train", None)
    if settings is None or settings.keep != "best":
        return history["epoch"][-1]
    first = history["phase"].count(0)
    values = np.asarray(history[settings.monitor][first:])
    best = values.argmax() if settings.monitor == "val_accuracy" else values.argmin()
    return history["epoch"][first + int(best)]
