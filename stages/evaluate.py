"""evaluate: the probabilities of members and ensemble on the test split → metrics, plots, an MLflow run."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages import cli, tracking
from stages.common import log
from stages.common.errors import StoreError
from stages.common.files import digest, read_json, replace_atomically, replace_folder_atomically, write_json
from stages.common.history import History
from stages.data import store
from stages.data.decoding import Pixels
from stages.data.manifest import Manifest
from stages.models.learners import FIT, HISTORY
from stages.models.protocols import LearnerParams
from stages.params import Evaluate
from stages.report.figures import results
from stages.report.pages import commands, execution
from stages.scoring import ENSEMBLE, diagnosis, metrics
from stages.scoring.predictions import Predictions

TEXT = "classification_report.txt"
_CURVES = ("loss", "accuracy")
_TITLE = "Precision, recall and F1 of each class, test split\n"

# Member or ensemble → metric → value.
Scores = Mapping[str, Mapping[str, float]]


@cli.command(params="evaluate", members="models", recipe="recipe")
def evaluate(
    params: Evaluate,
    members: dict[str, LearnerParams],
    recipe: str,
    *,
    manifest: Path,
    classes: Path,
    packed: Path,
    models: Path,
    predictions: Path,
    ensemble: Path,
    report: Path,
    plots: Path,
) -> None:
    """Score every member and the ensemble on the test split. Needs no TensorFlow.

    Args:
        params: The bins of the expected calibration error.
        members: Member → its params; only the names are used.
        recipe: The name of the recipe, which is the MLflow experiment.
        manifest: The manifest, which has the test split's labels.
        classes: The class names, as JSON.
        packed: The packed images, for figures of the errors.
        models: The folder with one folder per member.
        predictions: The folder with the members' predictions.
        ensemble: The folder with the ensemble's predictions.
        report: The folder to write metrics.json (member → metric → value), classification_report.txt,
            run.json and tracking (the record of the MLflow run, with the predictions that
            `stages.tools.compare` reads).
        plots: The folder to write: loss and accuracy per epoch of each network, and the pairs of actual and
            predicted class of each member.

    Raises:
        StoreError: Predictions are missing or of other images than this manifest's test split.
    """
    names: list[str] = read_json(classes)
    table = Manifest.read(manifest)
    files = {name: predictions / name / "test.h5" for name in members} | {ENSEMBLE: ensemble / "test.h5"}
    by_name = {name: _read(file, table, names) for name, file in files.items()}
    scores = {name: metrics.score(split, params.calibration_bins) for name, split in by_name.items()}
    _warn_of_absent_classes(by_name[ENSEMBLE], names)
    folders = {name: models / name for name in members}
    tags = {"stage": "evaluate", "manifest": digest(manifest)}
    with tracking.run(recipe, "evaluate", tags, keep=report) as run:
        _write_plots(plots, by_name, names, {name: folder / HISTORY for name, folder in folders.items()})
        _write_report(report, by_name, scores, names)
        _write_diagnoses(report, folders, scores, packed / "train.h5")
        run.dataset(tags["manifest"], "test", Counter(table.strings("split").tolist()))
        _track(run, by_name, scores, names, packed / "test.h5")
        for file in (report / metrics.FILE, report / TEXT):
            run.file(file)
        _link(run, recipe, folders, scores)
    print(_as_table(scores))


def _warn_of_absent_classes(predictions: Predictions, names: list[str]) -> None:
    """Say over how many classes the macro averages are, where the test split lacks some."""
    images = np.bincount(predictions.labels, minlength=len(names))
    absent = [name for name, count in zip(names, images.tolist(), strict=True) if not count]
    if absent:
        scored = len(names) - len(absent)
        log.warning("left_classes_out_of_macro_averages", scored=scored, absent=len(absent), first=absent[0])


def _read(file: Path, table: Manifest, names: list[str]) -> Predictions:
    test = table.strings("id")[table.strings("split") == "test"]
    label_of = table.labels(names)
    with store.Reader(file) as rows:
        if set(rows.ids.tolist()) != set(test.tolist()):
            raise StoreError(f"{file} is of other images than the manifest's test split; run predict again")
        labels = np.asarray([label_of[identity] for identity in rows.ids.tolist()], np.int64)
        return Predictions(rows.ids, labels, rows.read(0, len(rows)))


def _write_report(folder: Path, by_name: Mapping[str, Predictions], scores: Scores, names: list[str]) -> None:
    """Write file by file, as other stages write into the same folder."""
    write_json(folder / metrics.FILE, scores)
    parts = [f"{name}\n{metrics.classification_report(split, names)}" for name, split in by_name.items()]
    with replace_atomically(folder / TEXT) as aside:
        aside.write_text("\n".join([_TITLE, *parts]), encoding="utf-8")


def _write_diagnoses(folder: Path, members: dict[str, Path], test: Scores, train: Path) -> None:
    """Of each network: what its learning curves say, and what to try next."""
    with store.Reader(train) as rows:
        images = np.bincount(rows.column("labels"), minlength=len(rows.provenance["classes"])).tolist()
    diagnoses = {
        name: _diagnose(path, images, test[name]) for name, path in members.items() if (path / FIT).exists()
    }
    for name, findings in diagnoses.items():
        for finding in findings:
            log.event(
                "diagnosed_member",
                member=name,
                finding=finding.name,
                because=finding.figure,
                next=finding.advice,
            )
    write_json(
        folder / diagnosis.FILE,
        {name: [asdict(finding) for finding in findings] for name, findings in diagnoses.items()},
    )


def _diagnose(member: Path, images: list[int], test: Mapping[str, float]) -> list[diagnosis.Finding]:
    fit = read_json(member / FIT)
    epoch = fit.pop("epoch")
    # `train_val` only where the data have that split.
    on_splits = {
        split: diagnosis.Fit(1 - scores["accuracy"], scores["log_loss"], int(scores["n"]))
        for split, scores in (fit | {"test": test}).items()
    }
    return diagnosis.of_training(read_json(member / HISTORY), images, epoch=epoch, **on_splits)


def _write_plots(
    plots: Path, by_name: Mapping[str, Predictions], names: list[str], histories: Mapping[str, Path]
) -> None:
    """Write the tables that dvc.yaml's `plots` draws."""
    tables = (*_CURVES, "confusion")
    with replace_folder_atomically(plots, [f"{table}/*.csv" for table in tables]) as folder:
        for table in tables:
            (folder / table).mkdir()
        for name, predictions in by_name.items():
            pairs = zip(predictions.labels, predictions.predicted, strict=True)
            rows = [(names[actual], names[predicted]) for actual, predicted in pairs]
            _write_csv(folder / "confusion" / f"{name}.csv", ("actual", "predicted"), rows)
        for name, file in histories.items():
            history = read_json(file)
            if "epoch" in history:
                _write_curves(folder, name, history)


def _write_curves(folder: Path, name: str, history: History) -> None:
    for curve in _CURVES:
        columns = [history[series] for series in ("epoch", curve, f"val_{curve}")]
        _write_csv(
            folder / curve / f"{name}.csv", ("epoch", "train", "val"), list(zip(*columns, strict=True))
        )


def _write_csv(path: Path, header: tuple[str, ...], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _track(
    run: tracking.Run, by_name: Mapping[str, Predictions], scores: Scores, names: list[str], packed: Path
) -> None:
    with store.Reader(packed) as rows:
        row_of = {identity: number for number, identity in enumerate(rows.ids.tolist())}
        for name, predictions in by_name.items():
            run.metrics({f"{name}.{metric}": value for metric, value in scores[name].items()})
            numbers = np.asarray([row_of[identity] for identity in predictions.ids.tolist()])
            results.log_results(run, name, predictions, names, partial(_images, rows, numbers))
            run.predictions(name, predictions.ids, predictions.labels, predictions.probabilities)
    run.text(results.table(scores), "comparison.csv")


def _images(rows: store.Reader, numbers: NDArray[np.int64], wanted: NDArray[np.int64]) -> Pixels:
    """The packed images of the wanted predictions, whose rows are `numbers`."""
    return rows.take(numbers[wanted])


def _link(run: tracking.Run, recipe: str, folders: Mapping[str, Path], scores: Scores) -> None:
    """Log what executions are compared by, and the members' runs, which may be of earlier executions."""
    # An unreachable server was a warning already, and the records wait.
    with suppress(tracking.Unreachable):
        tracking.sync(folders.values())
    links = {name: read_json(folder / tracking.LINK) for name, folder in folders.items()}
    overrides = commands.overrides(recipe, Path("params.yaml"), Path("conf"))
    run.members(
        links,
        execution.figures(scores),
        params=execution.params(overrides),
        note=execution.note(recipe, scores, overrides),
    )


def _as_table(scores: Scores) -> str:
    """Metrics in columns, members in rows, for the terminal."""
    columns = {column: max(len(column), len("0.0000")) for column in next(iter(scores.values()))}
    width = max(map(len, scores))
    lines = [" " * width + "".join(f"  {column:>{size}}" for column, size in columns.items())]
    for name, row in scores.items():
        cells = [f"  {row[c]:>{size}{'' if c == 'n' else '.4f'}}" for c, size in columns.items()]
        lines.append(f"{name:{width}}{''.join(cells)}")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.main(evaluate)
