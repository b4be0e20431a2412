"""evaluate: the members' and the ensemble's probabilities on the test split → metrics, plots, a run."""

import csv
from collections import Counter
from collections.abc import Sequence
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
from stages.scoring import diagnosis, metrics
from stages.scoring.judged import Judged

ENSEMBLE = "ensemble"
METRICS, TEXT = "metrics.json", "classification_report.txt"
_CURVES = ("loss", "accuracy")
_TITLE = "Precision, recall and F1 of each class, test split\n"


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
    """Judge every member and the ensemble on the test split. Needs no TensorFlow.

    Writes into `report`: metrics.json (member → metric → value), classification_report.txt, run.json and
    tracking (what MLflow was told, with the predictions that `python -m stages.tools.compare` reads);
    diagnosis.json (network → what its learning curves say in words); into `plots`: loss and accuracy per
    epoch of each network and (actual, predicted) of each member.
    Raises StoreError when predictions are missing or of images that are not this manifest's test split.
    """
    names: list[str] = read_json(classes)
    table = Manifest.read(manifest)
    files = {name: predictions / name / "test.h5" for name in members} | {ENSEMBLE: ensemble / "test.h5"}
    judged = {name: _judge(file, table, names, params.calibration_bins) for name, file in files.items()}
    folders = {name: models / name for name in members}
    tags = {"stage": "evaluate", "manifest": digest(manifest)}
    with tracking.run(recipe, "evaluate", tags, keep=report) as run:
        _write_plots(plots, judged, names, {name: folder / HISTORY for name, folder in folders.items()})
        _write_report(report, judged, names)
        _write_diagnoses(report, folders, packed / "train.h5")
        run.dataset(tags["manifest"], "test", Counter(table.strings("split").tolist()))
        _track(run, report, judged, names, packed / "test.h5")
        _link(run, folders, judged)
    print(_as_table({name: one.scores for name, one in judged.items()}))


def _judge(file: Path, table: Manifest, names: list[str], bins: int) -> Judged:
    test = table.strings("id")[table.strings("split") == "test"]
    label_of = table.labels(names)
    with store.Reader(file) as rows:
        if set(rows.ids.tolist()) != set(test.tolist()):
            raise StoreError(f"{file} is of other images than the manifest's test split; run predict again")
        actual = np.asarray([label_of[identity] for identity in rows.ids.tolist()], np.int64)
        probabilities = rows.read(0, len(rows))
    return Judged(rows.ids, actual, probabilities, metrics.score(actual, probabilities, bins))


def _write_report(folder: Path, judged: dict[str, Judged], names: list[str]) -> None:
    """Into a folder that other stages write to as well, so file by file."""
    write_json(folder / METRICS, {name: one.scores for name, one in judged.items()})
    parts = [
        f"{name}\n{metrics.classification_report(one.actual, one.probabilities, names)}"
        for name, one in judged.items()
    ]
    with replace_atomically(folder / TEXT) as aside:
        aside.write_text("\n".join([_TITLE, *parts]), encoding="utf-8")


def _write_diagnoses(folder: Path, members: dict[str, Path], train: Path) -> None:
    """Of each network: what its learning curves say, and what to try next."""
    with store.Reader(train) as rows:
        images = np.bincount(rows.column("labels"), minlength=len(rows.provenance["classes"])).tolist()
    diagnoses = {name: _diagnose(path, images) for name, path in members.items() if (path / FIT).exists()}
    for name, findings in diagnoses.items():
        for finding in findings:
            log.event(
                "diagnosis", member=name, finding=finding.name, because=finding.figure, next=finding.advice
            )
    write_json(
        folder / diagnosis.FILE,
        {name: [asdict(finding) for finding in findings] for name, findings in diagnoses.items()},
    )


def _diagnose(member: Path, images: list[int]) -> list[diagnosis.Finding]:
    fit = read_json(member / FIT)
    train, val = (
        diagnosis.Fit(1 - scores["accuracy"], scores["log_loss"], scores["n"])
        for scores in (fit["train"], fit["val"])
    )
    return diagnosis.of_training(read_json(member / HISTORY), images, train, val, fit["epoch"])


def _write_plots(
    plots: Path, judged: dict[str, Judged], names: list[str], histories: dict[str, Path]
) -> None:
    """The tables that dvc.yaml's `plots` draws."""
    tables = (*_CURVES, "confusion")
    with replace_folder_atomically(plots, [f"{table}/*.csv" for table in tables]) as folder:
        for table in tables:
            (folder / table).mkdir()
        for name, one in judged.items():
            pairs = zip(one.actual, one.probabilities.argmax(axis=1), strict=True)
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
    run: tracking.Run, report: Path, judged: dict[str, Judged], names: list[str], packed: Path
) -> None:
    with store.Reader(packed) as rows:
        place = {identity: number for number, identity in enumerate(rows.ids.tolist())}
        for name, one in judged.items():
            run.metrics({f"{name}.{metric}": value for metric, value in one.scores.items()})
            numbers = np.asarray([place[identity] for identity in one.ids.tolist()])
            images = partial(_images, rows, numbers)
            results.log_results(run, name, one.actual, one.probabilities, names, images)
            run.predictions(name, one.ids, one.actual, one.probabilities)
    run.text(results.table({name: one.scores for name, one in judged.items()}), "comparison.csv")
    for name in (METRICS, TEXT):
        run.file(report / name)


def _images(rows: store.Reader, numbers: NDArray[np.int64], wanted: NDArray[np.int64]) -> Pixels:
    """The packed images of the wanted predictions, whose rows are `numbers`."""
    return rows.take(numbers[wanted])


def _link(run: tracking.Run, folders: dict[str, Path], judged: dict[str, Judged]) -> None:
    """Point at the runs that made the members, which may be older, and see that the server has them."""
    # If it is away, the run has said so, and what is missing waits.
    with suppress(tracking.Unreachable):
        tracking.sync(folders.values())
    links = {name: read_json(folder / tracking.LINK) for name, folder in folders.items()}
    run.members(links, {f"{name}.{key}": v for name, one in judged.items() for key, v in one.scores.items()})


def _as_table(scores: dict[str, dict[str, float]]) -> str:
    """Metrics in columns, members in rows, for the terminal."""
    columns = list(next(iter(scores.values())))
    width = max(map(len, scores))
    lines = [" " * width + "".join(f"  {column}" for column in columns)]
    for name, row in scores.items():
        cells = [f"{row[c]:{len(c) + 2}.4f}" if c != "n" else f"  {row[c]}" for c in columns]
        lines.append(f"{name:{width}}{''.join(cells)}")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.main(evaluate)
