"""ensemble: the members' class probabilities → their weighted average (Practitioner Bundle ch. 6)."""

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
from stages.scoring import ENSEMBLE, metrics, weighting
from stages.scoring.predictions import Predictions


@cli.command(params="ensemble")
def ensemble(params: Ensemble, *, predictions: Path, ensemble: Path) -> None:
    """Average the members named in the params; other folders in `predictions` are ignored.

    Weights are chosen on the val split alone, where their gain is therefore flattering; `evaluate` has the
    gain on the test split.

    Args:
        params: The members and how to weigh them.
        predictions: The folder with one folder of val.h5 and test.h5 per member.
        ensemble: The folder to write: val.h5 and test.h5 like those of a member, and ensemble.json, which
            holds the weights and, on the val split, the scores of members and ensemble, the gain in accuracy,
            and the disagreement between members.

    Raises:
        StoreError: A member's predictions are missing or of other images than the first member's.
    """
    files = {split: {m: predictions / m / f"{split}.h5" for m in params.members} for split in HELD_OUT}
    for of_split in files.values():
        _check_same_images(list(of_split.values()))
    # Of one member at a time: only the labels' probabilities and the predicted classes stay in memory.
    scores, of_label, predicted = {}, {}, {}
    for member, file in files["val"].items():
        on_val = Predictions.read(file)
        scores[member] = metrics.score(on_val, metrics.DEFAULT_BINS)
        of_label[member], predicted[member] = on_val.of_label, on_val.predicted
    weights = _weights(params, of_label, {member: score["accuracy"] for member, score in scores.items()})
    outputs = [weighting.FILE, *(f"{split}.h5" for split in HELD_OUT)]
    with replace_folder_atomically(ensemble, outputs) as folder:
        for split in HELD_OUT:
            _average(folder / f"{split}.h5", files[split], weights)
        of_ensemble = metrics.score(Predictions.read(folder / "val.h5"), metrics.DEFAULT_BINS)
        val: dict[str, Any] = {"members": scores, "ensemble": of_ensemble}
        val["accuracy_gain"] = gain = _gain(scores, of_ensemble)
        val["disagreement"] = weighting.disagreement(predicted)
        how = "given" if isinstance(params.weights, dict) else params.weights
        write_json(folder / weighting.FILE, {"weighting": how, "weights": weights, "val": val})
    log.event("averaged_members", **{member: f"{weight:.3f}" for member, weight in weights.items()})
    log.event("measured_gain", **{name: f"{value:+.4f}" for name, value in gain.items()})


def _weights(
    params: Ensemble, of_label: dict[str, NDArray[np.float64]], accuracy: dict[str, float]
) -> dict[str, float]:
    if isinstance(params.weights, dict):
        return weighting.relative({member: params.weights[member] for member in of_label})
    return weighting.choose(params.weights, of_label, accuracy)


def _gain(members: dict[str, dict[str, float]], average: dict[str, float]) -> dict[str, float]:
    accuracies = [scores["accuracy"] for scores in members.values()]
    accuracy = average["accuracy"]
    return {"over_mean": accuracy - float(np.mean(accuracies)), "over_best": accuracy - max(accuracies)}


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
    # `rows` is the last member's file; ids and labels are the same in every member's.
    ids, labels = rows.ids, rows.column("labels")
    provenance: dict[str, Any] = {**rows.provenance, "member": ENSEMBLE, "weights": weights}
    with store.create(path, "probabilities", rows.shape, np.float32, ids=ids, provenance=provenance) as out:
        out.write(0, np.asarray(average, np.float32))
        out.columns["labels"] = labels


if __name__ == "__main__":
    cli.main(ensemble)
