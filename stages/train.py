"""train: packed pictures or features → one fitted member, tracked."""

from pathlib import Path

from stages import cli, learners, log, tracking
from stages.data import store
from stages.files import replacing, write_json
from stages.learners import HISTORY, SPEC, Learner, LearnerParams
from stages.report import augmented
from stages.scoring import metrics


@cli.stage(params="models.{name}", recipe="recipe")
def train(name: str, *, params: LearnerParams, recipe: str, data: Path, model: Path) -> None:
    """Fit one member on the train split of `data` and look at its val split; the test split stays closed.

    Writes the folder `model`: the fitted learner, spec.json (what it is and how to feed it), history.json
    and run.json (the MLflow run that made it, which later stages point at even when this one is cached).
    """
    with (
        store.Reader(data / "train.h5") as rows,
        store.Reader(data / "val.h5") as val,
        tracking.run(recipe, name, _tags(name, rows)) as run,
        replacing(model) as folder,
    ):
        folder.mkdir()
        run.params(params.model_dump())
        if sheet := augmented.sheet(params, rows):
            run.figure(sheet, "augmented.png")
        learner = learners.create(params)
        history = learner.fit(rows, val, run.epoch)
        learner.save(folder)
        write_json(folder / SPEC, _spec(name, params, rows))
        write_json(folder / HISTORY, history)
        write_json(folder / tracking.LINK, run.link)
        _report(run, learner, history, val)
        run.model(folder, val.read(0, 1), learner.predict_proba(val.read(0, 1)))


def _tags(name: str, rows: store.Reader) -> dict[str, str]:
    return {"stage": f"train@{name}", "member": name, "manifest": rows.provenance["manifest"]}


def _spec(name: str, params: LearnerParams, rows: store.Reader) -> dict[str, object]:
    return {
        "name": name,
        "kind": params.kind,
        "input": params.input,
        "shape": list(rows.shape[1:]),
        "dtype": str(rows.dtype),
        "patch": getattr(params, "patch", None),
        "provenance": {key: value for key, value in rows.provenance.items() if key != "split"},
    }


def _report(run: tracking.Run, learner: Learner, history: learners.History, val: store.Reader) -> None:
    """Log how the member does on the val split, as numbers and pictures."""
    from stages.report import figures

    classes: list[str] = val.provenance["classes"]
    labels, probabilities = val.column("labels"), learners.predict_all(learner, val)
    found = metrics.score(labels, probabilities, bins=metrics.DEFAULT_BINS)
    run.metrics({f"final_val_{name}": value for name, value in found.items()})
    matrix = metrics.confusion(labels, probabilities)
    run.figure(figures.confusion(matrix, classes, "val split"), "confusion_val.png")
    run.figure(figures.history(history), "learning_curves.png")
    log.event("trained", val_accuracy=f"{found['accuracy']:.4f}", run=run.link["run_id"])


if __name__ == "__main__":
    cli.main(train)
