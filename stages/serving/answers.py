"""What a served model says of the test split's raw images, in terms in which two models can be compared."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common.errors import ServingError
from stages.common.files import read_json, write_json
from stages.data.manifest import Row

# A file, and where in it an image's bytes are: its offset and their number.
Place = tuple[str, int, int]

# A champion that does not know the actual class at all gives it this probability, as float32 would 0.
_LEAST = 1e-7


@dataclass(frozen=True)
class Answers:
    """Of N images: the most probable class, its probability, and the loss, -log p of the actual class."""

    predicted: NDArray[np.str_]
    confidence: NDArray[np.float64]
    loss: NDArray[np.float64]
    right: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    latency_ms: float
    model_bytes: int

    def recall(self, actual: NDArray[np.str_]) -> dict[str, float]:
        """The share of each actual class's images that is right."""
        return {str(name): float(self.right[actual == name].mean()) for name in np.unique(actual)}

    def figures(self) -> dict[str, float]:
        """For people and for the record."""
        return {
            "accuracy": float(self.right.mean()),
            "log_loss": float(self.loss.mean()),
            "latency_ms": round(self.latency_ms, 3),
            "model_bytes": self.model_bytes,
        }


def ask(uri: str, rows: Sequence[Row], source: Path, blob: Path) -> Answers:
    """Load the model at `uri` in a process of its own and classify these images from their bytes.

    Classes are compared by name: the model may know others than there are now. Raises ServingError with the
    last line of what went wrong.
    """
    found = raw(uri, [_place(row, source, blob) for row in rows])
    return understood(found, np.asarray([row.label for row in rows]))


def raw(uri: str, images: Sequence[Place], params: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What judge.py writes: `classes` and `probabilities` of images given as file, offset and bytes.

    `params` are the model's own, such as `crops`. Raises ServingError as `ask`.
    """
    with tempfile.TemporaryDirectory() as aside:
        job, answers = Path(aside) / "job.json", Path(aside) / "answers.json"
        write_json(job, {"pictures": images, "params": params})
        words = [sys.executable, "-I", str(Path(__file__).with_name("judge.py")), uri, str(job), str(answers)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ServingError(f"{uri} cannot be used: {reason}")
        found: dict[str, Any] = read_json(answers)
        return found


def _place(row: Row, source: Path, blob: Path) -> Place:
    return (str(blob), row.offset, row.bytes) if row.offset >= 0 else (str(source / row.path), 0, row.bytes)


def understood(found: dict[str, Any], actual: NDArray[np.str_]) -> Answers:
    """What `raw` found of N images whose classes are `actual` (N,)."""
    classes = np.asarray(found["classes"])
    probabilities = np.asarray(found["probabilities"], np.float64)
    best = probabilities.argmax(axis=1)
    known = {name: place for place, name in enumerate(classes.tolist())}
    of_actual = np.asarray(
        [row[known[name]] if name in known else 0.0 for row, name in zip(probabilities, actual, strict=True)]
    )
    return Answers(
        predicted=classes[best],
        confidence=probabilities.max(axis=1),
        loss=-np.log(np.maximum(of_actual, _LEAST)),
        right=classes[best] == actual,
        probabilities=probabilities,
        latency_ms=float(found["latency_ms"]),
        model_bytes=int(found["bytes"]),
    )
