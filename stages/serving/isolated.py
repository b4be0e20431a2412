"""Ask logged models about images in a process of their own, with the code that they were logged with."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.common.errors import TRANSIENT, InterruptedServingError, ServingError
from stages.common.files import read_json, write_json
from stages.common.redaction import redact
from stages.data import blobs
from stages.data.manifest import Row
from stages.scoring.served import Served, aligned

# A file, and the image's bytes in it: their offset and their number.
Place = tuple[str, int, int]


def serve(uris: Sequence[str], rows: Sequence[Row], source: Path, blob: Path) -> list[Served]:
    """Classify images of the manifest from their bytes by some models.

    Args:
        uris: The models' URIs in MLflow.
        rows: The images, N of them.
        source: The folder that the rows' paths are in.
        blob: The zip file that holds the images whose rows have an offset.

    Returns:
        What each model says of each image, with classes matched by name, and what it costs.

    Raises:
        InterruptedServingError: The process was killed, or MLflow does not answer.
        ServingError: A model cannot be loaded or used; with the last line of its error.
    """
    labels = [row.label for row in rows]
    ids = np.asarray([row.id for row in rows])
    served = []
    for answers in _classify(uris, [_place(row, source, blob) for row in rows], None, timed=True):
        predictions, classes = aligned(ids, labels, answers["classes"], answers["probabilities"])
        served.append(Served(predictions, classes, tuple(answers["latencies_ms"]), int(answers["bytes"])))
    return served


def classify(uri: str, images: Sequence[Place], params: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Classify images that are given as file, offset and number of bytes.

    Args:
        uri: The model's URI in MLflow.
        images: Where the images are.
        params: The model's own params, such as `crops`.

    Returns:
        What `judge.py` writes of a model: `classes`, `probabilities` (float64, images x classes), `bytes`.

    Raises:
        InterruptedServingError: As `serve`.
        ServingError: As `serve`.
    """
    return _classify([uri], images, params, timed=False)[0]


def _classify(
    uris: Sequence[str], images: Sequence[Place], params: Mapping[str, str] | None, *, timed: bool
) -> list[dict[str, Any]]:
    """The answers of each model, from as many processes as there are changes of code."""
    written: list[dict[str, Any]] = []
    while len(written) < len(uris):
        waiting = uris[len(written) :]
        with tempfile.TemporaryDirectory() as folder:
            job, answers = Path(folder) / "job.json", Path(folder) / "answers.json"
            write_json(job, {"models": waiting, "images": images, "params": params, "timed": timed})
            judge = str(Path(__file__).with_name("judge.py"))
            command = [sys.executable, "-I", judge, str(job), str(answers)]
            process = subprocess.run(command, capture_output=True, text=True, check=False)
            judged: list[dict[str, Any]] = read_json(answers) if answers.exists() else []
            for entry in judged:
                entry["probabilities"] = np.load(Path(folder) / entry["probabilities"], allow_pickle=False)
        # A library may crash at the process's end, when all answers are written.
        if process.returncode and len(judged) < len(waiting):
            raise _error(waiting[len(judged)], process.returncode, process.stderr)
        written += judged
    return written


def _error(uri: str, status: int, printed: str) -> ServingError:
    """The error of a process that ended with this status; a negative one is the signal that killed it."""
    if status < 0:
        name = signal.Signals(-status).name
        return InterruptedServingError(
            f"{uri}: the process that asked the model was killed by {name}, for instance for lack of memory; "
            "run it again"
        )
    reason = redact((printed.strip().splitlines() or ["no reason given"])[-1])
    kind = InterruptedServingError if status == TRANSIENT else ServingError
    return kind(f"{uri} cannot be used: {reason}")


def _place(row: Row, source: Path, blob: Path) -> Place:
    file, offset, count = blobs.place(row, source, blob)
    return str(file), offset, count
