"""ensemble: the members' class probabilities → their average (Practitioner Bundle ch. 6)."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import cli, log
from stages.data import store
from stages.data.manifest import HELD_OUT
from stages.errors import StoreError
from stages.files import replacing
from stages.params import Ensemble


@cli.stage(params="ensemble")
def ensemble(params: Ensemble, *, predictions: Path, ensemble: Path) -> None:
    """Average the members named in the params, weighted or not; other folders in `predictions` are ignored.

    Writes val.h5 and test.h5 like those of a member. Raises StoreError when a member's predictions are
    missing or of other pictures than the first member's.
    """
    given = params.weights if isinstance(params.weights, dict) else dict.fromkeys(params.members, 1.0)
    total = sum(given.values())
    weights = {member: given[member] / total for member in params.members}
    with replacing(ensemble) as folder:
        folder.mkdir()
        for split in HELD_OUT:
            _average(folder / f"{split}.h5", {m: predictions / m / f"{split}.h5" for m in weights}, weights)
    log.event("averaged", **{member: f"{weight:.3f}" for member, weight in weights.items()})


def _average(path: Path, members: dict[str, Path], weights: dict[str, float]) -> None:
    average: NDArray[np.float64] | None = None
    first: store.Reader | None = None
    for member, file in members.items():
        with store.Reader(file) as rows:
            if first is not None:
                _check_same_pictures(first, rows)
            first = first or rows
            weighted = weights[member] * rows.read(0, len(rows)).astype(np.float64)
            average = weighted if average is None else average + weighted
    assert first is not None
    assert average is not None
    provenance: dict[str, Any] = {**first.provenance, "member": "ensemble", "weights": weights}
    with store.create(
        path, "probabilities", first.shape, np.float32, ids=first.ids, provenance=provenance
    ) as out:
        out.write(0, average.astype(np.float32))
        out.columns["labels"] = first.column("labels")


def _check_same_pictures(first: store.Reader, other: store.Reader) -> None:
    same = first.provenance["manifest"] == other.provenance["manifest"]
    if not same or not np.array_equal(first.ids, other.ids):
        raise StoreError(f"{other.path} and {first.path} are of different pictures; run predict again")


if __name__ == "__main__":
    cli.main(ensemble)
