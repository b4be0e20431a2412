"""Ask a logged model about images in a process of its own, with the code that it was logged with."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.common.errors import ServingError
from stages.common.files import read_json, write_json
from stages.data import blobs
from stages.data.manifest import Row
from stages.scoring.served import Served, aligned

# A file, and the image's bytes in it: their offset and their number.
Place = tuple[str, int, int]


def serve(uri: str, rows: Sequence[Row], source: Path, blob: Path) -> Served:
    """Classify images of the manifest from their bytes.

    Args:
        uri: The model's URI in MLflow.
        rows: The images, N of them.
        source: The folder that the rows' paths are in.
        blob: The zip file that holds the images whose rows have an offset.

    Returns:
        What the model says of each image, with classes matched by name, and what it costs.

    Raises:
        ServingError: The model cannot be loaded or used; with the last line of its error.
    """
    answers = classify(uri, [_place(row, source, blob) for row in rows])
    labels = [row.label for row in rows]
    probabilities = np.asarray(answers["probabilities"], np.float64)
    ids = np.asarray([row.id for row in rows])
    predictions, classes = aligned(ids, labels, answers["classes"], probabilities)
    return Served(predictions, classes, tuple(answers["latencies_ms"]), int(answers["bytes"]))


def classify(uri: str, images: Sequence[Place], params: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Classify images that are given as file, offset and number of bytes.

    Args:
        uri: The model's URI in MLflow.
        images: Where the images are.
        params: The model's own params, such as `crops`.

    Returns:
        What `judge.py` writes: `classes`, `probabilities` (a row per image), `latencies_ms` and `bytes`.

    Raises:
        ServingError: As `serve`.
    """
    with tempfile.TemporaryDirectory() as folder:
        job, answers = Path(folder) / "job.json", Path(folder) / "answers.json"
        write_json(job, {"pictures": images, "params": params})
        judge = str(Path(__file__).with_name("judge.py"))
        command = [sys.executable, "-I", judge, uri, str(job), str(answers)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            reason = (process.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ServingError(f"{uri} cannot be used: {reason}")
        written: dict[str, Any] = read_json(answers)
        return written


def _place(row: Row, source: Path, blob: Path) -> Place:
    file, offset, count = blobs.place(row, source, blob)
    return str(file), offset, count
