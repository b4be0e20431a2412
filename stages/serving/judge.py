"""Classify images by a logged model: `python -I judge.py MODEL_URI JOB ANSWERS`, a process of its own.

A champion brings the code it was logged with, a package named `stages` like the one that judges it, and one
process cannot hold two packages of one name. So this file is run by its path and imports nothing of them.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_BATCH = 64
# Timed are single images, as most requests hold one; the first of them warm the model up.
_WARM_UP, _TIMED = 5, 30


def main(uri: str, job: str, answers: str) -> None:
    """Classify the images of a job.

    Args:
        uri: The model's URI in MLflow.
        job: A JSON file with `pictures`, a list of [file, offset, bytes], and `params`, the model's own.
        answers: The JSON file to write: `classes`, `probabilities` (a row per image), `latencies_ms` (one
            number per timed image) and `bytes`, the size of the model's files.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow
    import pandas as pd

    folder = Path(mlflow.artifacts.download_artifacts(uri))
    # All of these images passed ingest's own limits.
    config = {"max_pixels": 2**40, "damaged": "accept"}
    model = mlflow.pyfunc.load_model(str(folder), model_config=config)
    task = json.loads(Path(job).read_text(encoding="utf-8"))
    images = [tuple(place) for place in task["pictures"]]
    rows: list[dict[str, float]] = []
    for start in range(0, len(images), _BATCH):
        table = pd.DataFrame({"image": [_read(*place) for place in images[start : start + _BATCH]]})
        rows += model.predict(table, params=task["params"]).probabilities.tolist()
    result = {
        "classes": list(rows[0]),
        "probabilities": [list(row.values()) for row in rows],
        "latencies_ms": _latencies(model, [_read(*place) for place in images[: _WARM_UP + _TIMED]]),
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }
    Path(answers).write_text(json.dumps(result), encoding="utf-8")


def _read(file: str, offset: int, count: int) -> bytes:
    with Path(file).open("rb") as opened:
        opened.seek(offset)
        return opened.read(count)


def _latencies(model: Any, images: list[bytes]) -> list[float]:
    """Milliseconds from an image's bytes to its label, of each image after the model has warmed up."""
    import pandas as pd

    latencies = []
    for image in images:
        table = pd.DataFrame({"image": [image]})
        start = time.perf_counter()
        model.predict(table)
        latencies.append(1000 * (time.perf_counter() - start))
    return latencies[_WARM_UP:] or latencies


if __name__ == "__main__":
    main(*sys.argv[1:])
