"""Who may stand for champion: the ensemble, a member, or whichever the val split says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.common.errors import StoreError
from stages.data import store
from stages.data.manifest import Manifest, Row
from stages.scoring import metrics


@dataclass(frozen=True)
class Candidate:
    """Members (name → folder) with their weights, and the folder of their predictions."""

    name: str
    members: dict[str, Path]
    weights: dict[str, float]
    predictions: Path


def choose(
    wanted: str,
    metric: str,
    members: Iterable[str],
    weights: Mapping[str, float],
    folders: tuple[Path, Path, Path],
) -> Candidate:
    """`wanted` is `ensemble`, a member, or `best`: that of them with the best `metric` on val.

    `weights` are the ensemble's; `folders` are models, predictions, and the ensemble's predictions.
    """
    models, predictions, ensemble = folders
    # Greedy selection leaves members out by giving them no weight.
    used = {name: weight for name, weight in weights.items() if weight}
    average = Candidate("ensemble", {name: models / name for name in used}, used, ensemble)
    singles = [Candidate(name, {name: models / name}, {name: 1.0}, predictions / name) for name in members]
    choices = {one.name: one for one in (average, *singles)}
    if wanted != "best":
        return choices[wanted]
    return max(choices.values(), key=lambda one: _on_val(one, metric))


def _on_val(candidate: Candidate, metric: str) -> float:
    """The larger the better."""
    with store.Reader(candidate.predictions / "val.h5") as rows:
        scores = metrics.score(rows.column("labels"), rows.read(0, len(rows)), metrics.DEFAULT_BINS)
    return -scores[metric] if metric == "log_loss" else scores[metric]


def test_rows(manifest: Path, candidate: Candidate) -> list[Row]:
    """The images of the test split in the order of the candidate's predictions.

    Raises StoreError when the predictions are of others.
    """
    rows = {row.id: row for row in Manifest.read(manifest).rows() if row.split == "test"}
    file = candidate.predictions / "test.h5"
    with store.Reader(file) as predicted:
        ids = predicted.ids.tolist()
    if set(ids) != set(rows):
        raise StoreError(f"{file} is of other images than the manifest's test split; run predict again")
    return [rows[identity] for identity in ids]
