"""The challenger: the ensemble, a member, or whichever of them is best on the val split."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.common.errors import ServingError, StoreError
from stages.common.files import digest, read_json
from stages.data import store
from stages.data.image_set import ImageSet
from stages.data.manifest import Manifest, Row
from stages.models import learners, seen_images
from stages.scoring import ENSEMBLE
from stages.scoring.predictions import Predictions


@dataclass(frozen=True)
class Challenger:
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
) -> Challenger:
    """Choose the challenger.

    Args:
        wanted: `ensemble`, a member's name, or `best`: whichever of them has the best `metric` on the val
            split.
        metric: `accuracy` or `log_loss`.
        members: The names of all members.
        weights: The ensemble's: member → weight.
        folders: The folders of models, of predictions, and of the ensemble's predictions.
    """
    models, predictions, ensemble = folders
    # Greedy selection leaves members out by weight 0.
    weighted = {name: weight for name, weight in weights.items() if weight}
    average = Challenger(ENSEMBLE, {name: models / name for name in weighted}, weighted, ensemble)
    singles = [Challenger(name, {name: models / name}, {name: 1.0}, predictions / name) for name in members]
    choices = {choice.name: choice for choice in (average, *singles)}
    if wanted != "best":
        return choices[wanted]
    return max(choices.values(), key=lambda choice: _on_val(choice, metric))


def _on_val(challenger: Challenger, metric: str) -> float:
    """The larger the better."""
    on_val = Predictions.read(challenger.predictions / "val.h5")
    return -on_val.log_loss if metric == "log_loss" else on_val.accuracy


def test_rows(manifest: Path, challenger: Challenger) -> list[Row]:
    """The images of the test split in the order of the challenger's predictions.

    Raises StoreError when the predictions are of other images.
    """
    rows = {row.id: row for row in Manifest.read(manifest).rows() if row.split == "test"}
    file = challenger.predictions / "test.h5"
    with store.Reader(file) as predicted:
        ids = predicted.ids.tolist()
    if set(ids) != set(rows):
        raise StoreError(f"{file} is of other images than the manifest's test split; run predict again")
    return [rows[identity] for identity in ids]


def seen(manifest: Path, challenger: Challenger) -> ImageSet:
    """The images that the challenger has seen, in today's splits and in trainings that its members continue.

    Raises:
        ServingError: A member was trained on another manifest, or does not say what it has seen.
    """
    current = digest(manifest)
    for member, folder in challenger.members.items():
        trained_on = read_json(folder / learners.SPEC)["provenance"].get("manifest")
        if trained_on != current:
            raise ServingError(
                f"member {member} was trained on another manifest than {manifest}; run train again"
            )
    return seen_images.of_members(challenger.members.values())
