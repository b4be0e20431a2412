"""ensemble: the members' class probabilities → their average (Practitioner Bundle ch. 6)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import cli
from stages.common import log
from stages.common.errors import StoreError
from stages.common.files import replace_folder_atomically, write_json
from stages.data import store
from stages.data.manifest import HELD_OUT
from stages.params import Ensemble
from stages.scoring import metrics, weighting

SUMMARY = "ensemble.json"


@dataclass(frozen=True)
class OnVal:
    """One member on the val split: its most probable classes, its probabilities of the actual ones."""

    predicted: NDArray[np.int64]
    of_label: NDArray[np.float64]
    scores: dict[str, float]


@cli.command(params="ensemble")
def ensemble(params: Ensemble, *, predictions: Path, ensemble: Path) -> None:
    """Average the members named in the params; other folders in `predictions` are ignored.

    Writes val.h5 and test.h5 like those of a member, and ensemble.json: each member's weight, and on the val
    split the scores of members and ensemble, the gain, and the disagreement between members. Weights are
    chosen on the val split alone, where their gain is therefore flattering; evaluate has the test split's.
    Raises StoreError when a member's predictions are missing or of other images than the first member's.
    """
    files = {split: {m: predictions / m / f"{split}.h5" for m in params.members} for split in HELD_OUT}
    for of_split in files.values():
        _check_same_images(list(of_split.values()))
    members = {member: _look(file) for member, file in files["val"].items()}
    weights = _weights(params, members)
    with replace_folder_atomically(ensemble, [SUMMARY, *(f"{split}.h5" for split in HELD_OUT)]) as folder:
        for split in HELD_OUT:
            _average(folder / f"{split}.h5", files[split], weights)
        summary = _summary(params, weights, members, _look(folder / "val.h5"))
        write_json(folder / SUMMARY, summary)
    log.event("averaged", **{member: f"{weight:.3f}" for member, weight in weights.items()})
    gain = {name: f"{value:+.4f}" for name, value in summary["val"]["accuracy_gain"].items()}
    log.event("val accuracy gained", **gain)


def _look(file: Path) -> OnVal:
    with store.Reader(file) as rows:
        labels, probabilities = rows.column("labels"), rows.read(0, len(rows))
    return OnVal(
        probabilities.argmax(axis=1),
        weighting.of_label(labels, probabilities),
        metrics.score(labels, probabilities, metrics.DEFAULT_BINS),
    )


def _weights(params: Ensemble, members: dict[str, OnVal]) -> dict[str, float]:
    if isinstance(params.weights, dict):
        return weighting.relative({member: params.weights[member] for member in members})
    return weighting.choose(
        params.weights,
        {member: one.of_label for member, one in members.items()},
        {member: one.scores["accuracy"] for member, one in members.items()},
    )


def _summary(
    params: Ensemble, weights: dict[str, float], members: dict[str, OnVal], average: OnVal
) -> dict[str, Any]:
    accuracies = [one.scores["accuracy"] for one in members.values()]
    accuracy = average.scores["accuracy"]
    return {
        "weighting": "given" if isinstance(params.weights, dict) else params.weights,
        "weights": weights,
        "val": {
            "members": {member: one.scores for member, one in members.items()},
            "ensemble": average.scores,
            "accuracy_gain": {
                "over_mean": accuracy - float(np.mean(accuracies)),
                "over_best": accuracy - max(accuracies),
            },
            "disagreement": weighting.disagreement({m: one.predicted for m, one in members.items()}),
        },
    }


def _check_same_images(files: list[Path]) -> None:
    with store.Reader(files[0]) as first:
        for file in files[1:]:
            with store.Reader(file) as other:
                same = first.provenance["manifest"] == other.provenance["manifest"]
                if not same or not np.array_equal(first.ids, other.ids):
                    raise StoreError(f"{file} and {files[0]} are of different images; run predict again")


def _average(path: Path, members: dict[str, Path], weights: dict[str, float]) -> None:
    average: NDArray[np.float64] | float = 0.0
    for member, file in members.items():
        with store.Reader(file) as rows:
            average = average + weights[member] * rows.read(0, len(rows)).astype(np.float64)
    # The last member's, but the same of all.
    ids, labels = rows.ids, rows.column("labels")
    provenance: dict[str, Any] = {**rows.provenance, "member": "ensemble", "weights": weights}
    with store.create(path, "probabilities", rows.shape, np.float32, ids=ids, provenance=provenance) as out:
        out.write(0, np.asarray(average, np.float32))
        out.columns["labels"] = labels


if __name__ == "__main__":
    cli.main(ensemble)
