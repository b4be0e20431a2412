"""evaluate: the members' and the ensemble's probabilities on the test split → metrics, plots, a run."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages import cli, tracking
from stages.data import store
from stages.data.manifest import Manifest
from stages.errors import StoreError
from stages.files import digest, read_json, replacing, write_json
from stages.learners import HISTORY, History, LearnerParams
from stages.params import Evaluate
from stages.report import figures
from stages.scoring import metrics

ENSEMBLE = "ensemble"
METRICS, TEXT = "metrics.json", "classification_report.txt"
_CURVES = ("loss", "accuracy")


@dataclass(frozen=True)
class Judged:
    """A member or the ensemble on the test split: actual class indices, probabilities, metrics."""

    actual: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    scores: dict[str, float]


@cli.stage(params="evaluate", members="models", recipe="recipe")
def evaluate(
    params: Evaluate,
    members: dict[str, LearnerParams],
    recipe: str,
    *,
    manifest: Path,
    classes: Path,
    models: Path,
    predictions: Path,
    ensemble: Path,
    report: Path,
    plots: Path,
) -> None:
    """Judge every member and the ensemble on the test split. Needs no TensorFlow.

    Writes into `report`: metrics.json (member → metric → value), classification_report.txt and run.json;
    into `plots`: loss and accuracy per epoch of each network and (actual, predicted) of each member.
    Raises StoreError when predictions are missing or of pictures that are not this manifest's test split.
    """
    names: list[str] = read_json(classes)
    table = Manifest.read(manifest)
    files = {name: predictions / name / "test.h5" for name in members} | {ENSEMBLE: ensemble / "test.h5"}
    judged = {name: _judge(file, table, names, params.calibration_bins) for name, file in files.items()}
    with tracking.run(recipe, "evaluate", _tags(manifest, models, members)) as run:
        _write_plots(plots, judged, names, {name: models / name / HISTORY for name in members})
        _write_report(report, judged, names)
        _track(run, report, judged, names)
        write_json(report / tracking.LINK, run.link)
    print(_as_table({name: one.scores for name, one in judged.items()}))


def _judge(file: Path, table: Manifest, names: list[str], bins: int) -> Judged:
    test = table.strings("id")[table.strings("split") == "test"]
    label_of = table.labels(names)
    with store.Reader(file) as rows:
        if set(rows.ids.tolist()) != set(test.tolist()):
            raise StoreError(f"{file} is of other pictures than the manifest's test split; run predict again")
        actual = np.asarray([label_of[identity] for identity in rows.ids.tolist()], np.int64)
        probabilities = rows.read(0, len(rows))
    return Judged(actual, probabilities, metrics.score(actual, probabilities, bins))


def _write_report(folder: Path, judged: dict[str, Judged], names: list[str]) -> None:
    """Into a folder that other stages write to as well, so file by file."""
    write_json(folder / METRICS, {name: one.scores for name, one in judged.items()})
    parts = [
        f"{name}\n{metrics.classification_report(one.actual, one.probabilities, names)}"
        for name, one in judged.items()
    ]
    with replacing(folder / TEXT) as aside:
        aside.write_text("\n".join(parts), encoding="utf-8")


def _write_plots(
    plots: Path, judged: dict[str, Judged], names: list[str], histories: dict[str, Path]
) -> None:
    """The tables that dvc.yaml's `plots` draws."""
    with replacing(plots) as folder:
        for part in (*_CURVES, "confusion"):
            (folder / part).mkdir(parents=True)
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


def _track(run: tracking.Run, report: Path, judged: dict[str, Judged], names: list[str]) -> None:
    for name, one in judged.items():
        run.metrics({f"{name}.{metric}": value for metric, value in one.scores.items()})
        matrix = metrics.confusion(one.actual, one.probabilities)
        run.figure(figures.confusion(matrix, names, f"{name}, test split"), f"confusion_{name}.png")
    for name in (METRICS, TEXT):
        run.file(report / name)


def _tags(manifest: Path, models: Path, members: dict[str, LearnerParams]) -> dict[str, str]:
    """Link to the runs that made the members, which may be older than this evaluation."""
    runs = {f"run.{name}": read_json(models / name / tracking.LINK)["run_id"] for name in members}
    return {"stage": "evaluate", "manifest": digest(manifest), **runs}


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
