"""What `make run` says at its end: scores, what to know, where to look."""

import csv
import textwrap
from pathlib import Path
from typing import Any

from stages.common.files import read_json
from stages.data.manifest import Manifest
from stages.report.pages import headline, overview
from stages.scoring import ENSEMBLE, diagnosis, metrics
from stages.scoring.predictions import Predictions

_FINDINGS = 3
_PAGES = {
    "index.html": "the run: is it good, where is it wrong, what next",
    "data.html": "the data: counts, rejects, near duplicates, samples",
    "promotion.html": "the verdict, rule by rule",
}


def summarize(root: Path, width: int = 80) -> list[str]:
    """Read the outputs of a run as a short table, the most useful findings and the pages.

    Args:
        root: The workspace.
        width: Columns of the terminal.
    """
    scores: dict[str, dict[str, float]] = read_json(root / "reports" / metrics.FILE)
    promotion: dict[str, Any] = read_json(root / "reports" / "promotion.json")
    lines = ["", *_table(scores), ""]
    for number, text in enumerate(_findings(root, scores)[:_FINDINGS], 1):
        lines += textwrap.wrap(text, width, initial_indent=f"  {number}. ", subsequent_indent="     ")
    verdict = f"  Promotion: {promotion['decision']}; {promotion['reason']}"
    lines += ["", *textwrap.wrap(verdict, width, subsequent_indent="     "), ""]
    lines += [f"  {'reports/' + name:<22}  {text}" for name, text in _PAGES.items()]
    return lines


def _table(scores: dict[str, dict[str, float]]) -> list[str]:
    # The average of a single member is that member.
    rows = {name: row for name, row in scores.items() if len(scores) > 2 or name != ENSEMBLE}
    width = max(map(len, rows))
    lines = [f"  {'':{width}}  accuracy  95 % interval     log loss"]
    for name, row in rows.items():
        low, high = metrics.interval(row["accuracy"], int(row["n"]))
        lines.append(
            f"  {name:{width}}  {row['accuracy']:8.4f}  {low:.3f} to {high:.3f}  {row['log_loss']:9.4f}"
        )
    images = int(next(iter(scores.values()))["n"])
    return [*lines, f"  on the {images:,} images of the test split"]


def _findings(root: Path, scores: dict[str, dict[str, float]]) -> list[str]:
    """The advice of the run's page, after what was left out of the data."""
    subject = ENSEMBLE if len(scores) > 2 else next(iter(scores))
    folder = root / ENSEMBLE if subject == ENSEMBLE else root / "predictions" / subject
    predictions = Predictions.read(folder / "test.h5")
    classes: list[str] = read_json(root / "data" / "classes.json")
    steps = headline.next_steps(
        read_json(root / "reports" / diagnosis.FILE),
        overview.per_class(predictions, classes),
        scores[subject]["macro_f1"],
        read_json(root / "reports" / "drift.json")["verdict"],
        int((~predictions.correct).sum()),
    )
    findings = [f"{step['reason']}: {step['advice']}" for step in steps]
    share = headline.baseline(Manifest.read(root / "data" / "manifest.parquet"))["share"]
    if scores[subject]["accuracy"] <= share:
        text = f"No better than always naming the most frequent class ({share:.4f}): check images and labels"
        findings.insert(0, text)
    with (root / "data" / "rejects.csv").open(newline="", encoding="utf-8") as file:
        # Exact duplicates need nothing.
        rejects = [row for row in csv.DictReader(file) if row["reason"] != "duplicate"]
    if rejects:
        files = "1 file was" if len(rejects) == 1 else f"{len(rejects):,} files were"
        findings.insert(0, f"{files} left out, the first because: {rejects[0]['reason']} (data/rejects.csv)")
    return findings
