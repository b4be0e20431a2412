"""Which images a run classified rightly: results/answers/RECIPE-SEED.json.

Two runs on the same images are compared image by image, which tells smaller differences from chance than two
accuracies can.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.common.errors import ConvoyError
from stages.common.files import read_json, write_json
from stages.scoring.predictions import Predictions


@dataclass(frozen=True)
class Answers:
    """What all members of a run answered on one split.

    Attributes:
        images: a digest of the images' ids; runs with the same digest have the same images.
        correct: member or `ensemble` → whether each image (N,), in the order of ids, is classified rightly.
    """

    images: str
    correct: Mapping[str, NDArray[np.bool_]]


def of_predictions(by_name: Mapping[str, Predictions]) -> Answers:
    """Collect the answers of a run's members on one split; all have the same images."""
    correct = {
        name: predictions.correct[np.argsort(predictions.ids)] for name, predictions in by_name.items()
    }
    ids = sorted(next(iter(by_name.values())).ids.tolist())
    return Answers(hashlib.sha256(",".join(ids).encode()).hexdigest()[:16], correct)


def file(folder: Path, recipe: str, seed: int) -> Path:
    """The path of a run's answers."""
    return folder / f"{recipe}-{seed}.json"


def write(path: Path, splits: Mapping[str, Answers]) -> None:
    """Write the answers of a run: eight images a byte, as base64.

    Args:
        path: of the file.
        splits: split → answers.
    """
    write_json(
        path,
        {
            split: {
                "images": answers.images,
                "count": len(next(iter(answers.correct.values()))),
                "correct": {
                    name: base64.b64encode(np.packbits(right).tobytes()).decode()
                    for name, right in sorted(answers.correct.items())
                },
            }
            for split, answers in splits.items()
        },
    )


def read(path: Path) -> dict[str, Answers]:
    """Read what `write` wrote: split → answers; none where there is no file.

    Raises:
        ConvoyError: the file is something else.
    """
    if not path.exists():
        return {}
    try:
        return {
            split: Answers(
                values["images"],
                {name: _unpacked(text, values["count"]) for name, text in values["correct"].items()},
            )
            for split, values in read_json(path).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConvoyError(f"{path} is no file of answers: {error!r}") from None


def of_run(folder: Path, recipe: str, seed: int) -> dict[str, Answers]:
    """Read the answers of a run, as `read` does."""
    return read(file(folder, recipe, seed))


def _unpacked(text: str, count: int) -> NDArray[np.bool_]:
    packed = base64.b64decode(text, validate=True)
    if len(packed) != (count + 7) // 8:
        raise ValueError(f"{len(packed)} bytes for {count} answers")
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(bool)
