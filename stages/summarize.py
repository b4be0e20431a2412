"""summarize: all results of a run → one page."""

import csv
from pathlib import Path
from typing import Any

from stages import cli, tracking
from stages.common import log
from stages.common.files import digest, read_json, replace_atomically
from stages.common.redaction import redact
from stages.data import store
from stages.data.manifest import Manifest
from stages.models import learners
from stages.params import Evaluate
from stages.report.figures import charts, style
from stages.report.pages import commands, headline, overview, rendering
from stages.scoring import ENSEMBLE, diagnosis, metrics, weighting
from stages.scoring.books import Book
from stages.scoring.calibration import reliability
from stages.scoring.predictions import Predictions

PAGE = "index.html"
# Pixels of the longer side of an error: 15 KB each. Shown at a third, and at full size on a click.
_SIDE = 384
# Below, pixels are shown as squares.
_TINY = 64


@cli.command(recipe="recipe", book="book", params="evaluate")
def summarize(
    recipe: str,
    book: Book,
    params: Evaluate,
    *,
    data: Path,
    models: Path,
    predictions: Path,
    ensemble: Path,
    report: Path,
    conf: Path,
    composed: Path,
) -> None:
    """Write `report`/index.html, the page of the run. Decides nothing; needs no TensorFlow and no network.

    Args:
        recipe: The recipe's name.
        book: What the recipe's book prints.
        params: The bins of the expected calibration error.
        data: The folder with manifest, classes, rejects, near duplicates and packed images.
        models: The folder with one folder per member.
        predictions: The folder with the members' predictions.
        ensemble: The folder with the ensemble's predictions and weights.
        report: The folder with metrics, drift, diagnoses and the verdict, to write the page into.
        conf: The folder of Hydra's groups.
        composed: The params file of this run, which is compared with the recipe in `conf`.

    Raises:
        FileNotFoundError: A result is missing; the page stays as it was.
    """
    classes: list[str] = read_json(data / "classes.json")
    manifest = Manifest.read(data / "manifest.parquet")
    scores: dict[str, dict[str, float]] = read_json(report / metrics.FILE)
    judged = {
        name: Predictions.read((ensemble if name == ENSEMBLE else predictions / name) / "test.h5")
        for name in scores
    }
    diagnoses: dict[str, list[dict[str, str]]] = read_json(report / diagnosis.FILE)
    members = {name: rows for name, rows in judged.items() if name != ENSEMBLE}
    # The average of a single member is that member.
    shown = judged if len(members) > 1 else members
    subject = list(shown)[-1]
    drift: dict[str, Any] = read_json(report / "drift.json")
    per_class = overview.per_class(judged[subject], classes)
    wrong = int((~judged[subject].correct).sum())
    html = rendering.render(
        "index.html.j2",
        recipe=recipe,
        data=_data(data, manifest) | {"drift": drift},
        board=overview.scoreboard({name: scores[name] for name in shown}),
        books=overview.books(book.figures, scores),
        baseline=headline.baseline(manifest),
        named=headline.CLASSES_NAMED,
        steps=headline.next_steps(diagnoses, per_class, scores[subject]["macro_f1"], drift["verdict"], wrong),
        members=[_member(name, models / name, diagnoses.get(name, [])) for name in members],
        gains=overview.gains(judged[ENSEMBLE], members),
        weighed=read_json(ensemble / weighting.FILE),
        matrices={name: overview.matrix(shown[name], classes) for name in [subject, *list(shown)[:-1]]},
        classes=classes,
        drawn=overview.MATRIX_CLASSES,
        per_class=per_class,
        errors=_errors(judged[subject], classes, manifest, data / "packed" / "test.h5"),
        wrong=wrong,
        reliability=_reliability(judged[subject], params.calibration_bins),
        promotion=read_json(report / "promotion.json"),
        commands=[redact(command) for command in commands.reproduce(recipe, composed, conf)],
        uncommitted=commands.uncommitted(),
        run=read_json(report / tracking.LINK),
        params=redact(composed.read_text(encoding="utf-8")),
    )
    with replace_atomically(report / PAGE) as aside:
        aside.write_text(html, encoding="utf-8")
    log.event("wrote_page", page=report / PAGE)


def _data(folder: Path, manifest: Manifest) -> dict[str, Any]:
    def table(name: str) -> list[dict[str, str]]:
        with (folder / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    return overview.data(manifest, table("rejects.csv")) | {
        "pairs": len(table("near_duplicates.csv")),
        "digest": digest(folder / "manifest.parquet"),
    }


def _member(name: str, folder: Path, findings: list[dict[str, str]]) -> dict[str, Any]:
    """A member: its spec, its curves, its run, and the findings on a network's curves."""
    panels = charts.panels(read_json(folder / learners.HISTORY))
    return {
        "name": name,
        "spec": read_json(folder / learners.SPEC),
        "run": read_json(folder / tracking.LINK),
        "curves": {title: style.figure_uri(figure) for title, figure in panels.items()},
        "diagnosis": findings,
    }


def _errors(
    predictions: Predictions, classes: list[str], manifest: Manifest, packed: Path
) -> list[dict[str, Any]]:
    """Each with its image as it was packed, which is what the members were shown."""
    ids = manifest.strings("id").tolist()
    paths = dict(zip(ids, manifest.strings("path").tolist(), strict=True))
    errors = overview.errors(predictions, classes, paths)
    with store.Reader(packed) as rows:
        place = {identity: number for number, identity in enumerate(rows.ids.tolist())}
        images = rows.take([place[error["id"]] for error in errors])
    return [
        error | {"uri": style.image_uri(image, _SIDE), "tiny": max(image.shape) < _TINY}
        for error, image in zip(errors, images, strict=True)
    ]


def _reliability(predictions: Predictions, bins: int) -> str:
    return style.figure_uri(charts.reliability(reliability(predictions, bins)))


if __name__ == "__main__":
    cli.main(summarize)
