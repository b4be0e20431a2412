"""trial: fit one member with a sweep's params and report each epoch; stages/tools/sweep.py starts it.

A trial is no `train`: it fits with the same params and seed and leaves an MLflow run with params and metrics,
but no model, no figures and no checkpoints. A process of its own gives a failed trial's memory back.

It writes lines to standard output, MARK and JSON, and reads an answer to each epoch from standard input:

    @trial {"epoch": 1, "val_error": 0.2}   →   go | stop
    @trial {"val_log_loss": 0.1, "val_accuracy": 0.97}      the weights that `train` would deliver
    @trial {"diverged": "the loss became nan …"}
"""

import json
import sys
from pathlib import Path

from stages import cli, tracking
from stages.common.errors import DivergedError
from stages.data import store
from stages.models import learners
from stages.models.protocols import LearnerParams
from stages.scoring import metrics
from stages.scoring.predictions import Predictions
from stages.tools._process import MARK


class _PrunedError(Exception):
    """The sweep has answered `stop`."""


@cli.command(settings="models.{member}", recipe="recipe")
def trial(member: str, *, settings: LearnerParams, recipe: str, data: Path, number: str) -> None:
    """Fit a member and report to the sweep on standard output.

    Args:
        member: A name of models in the params.
        settings: The member's params.
        recipe: The recipe's name, which is the MLflow experiment.
        data: The folder with train.h5 and val.h5 that the member reads.
        number: The trial's number in its study.

    Raises:
        DivergedError: The loss is not a number.
        LearnerError: The member cannot be fitted with its params.
    """
    with store.Reader(data / "train.h5") as rows, store.Reader(data / "val.h5") as val:
        manifest = rows.provenance["manifest"]
        tags = {"stage": f"trial@{member}", "member": member, "trial": number, "manifest": manifest}
        with tracking.run(recipe, f"{member} {number}", tags) as run:
            run.params(settings.model_dump())
            run.dataset(manifest, "train", {"train": len(rows), "val": len(val)})

            def report(epoch: int, values: dict[str, float]) -> None:
                run.epoch(epoch, values)
                # Of val_loss label smoothing and l2 are a part: no measure to compare their values by.
                _send(epoch=epoch, val_error=1 - values["val_accuracy"])
                if sys.stdin.readline().strip() != "go":
                    raise _PrunedError

            learner = learners.create(settings)
            try:
                learner.fit(rows, val, report)
            except _PrunedError:
                run.tags({"pruned": "true"})
                return
            except DivergedError as error:
                _send(diverged=str(error))
                raise
            probabilities = learners.predict_all(learner, val)
            predictions = Predictions(val.ids, val.column("labels"), probabilities)
            scores = metrics.score(predictions, metrics.DEFAULT_BINS)
            run.metrics({f"final_val_{name}": value for name, value in scores.items()})
            _send(val_log_loss=scores["log_loss"], val_accuracy=scores["accuracy"])


def _send(**message: object) -> None:
    sys.stdout.write(f"{MARK}{json.dumps(message)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    cli.main(trial)
