"""Ask one logged model about images, in a process of its own: `python -I judge.py MODEL_URI JOB ANSWERS`.

A champion brings the code it was logged with, a package named `stages` like the one that judges it; two
packages of one name do not go into one process. So this file is run by its path and imports nothing of ours.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_BATCH = 64
# One image a time, as most requests are: after some to warm up, the median of the others.
_WARM_UP, _TIMED = 5, 30


def main(uri: str, job: str, answers: str) -> None:
    """Read `job`, `images` [[file, offset, bytes], …] and `params`; write what the model says to `answers`.

    JSON: `classes`, `probabilities` (a row per image), `latency_ms` and the model's size in `bytes`.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow
    import pandas as pd

    folder = Path(mlflow.artifacts.download_artifacts(uri))
    # All of these images passed ingest's own limits.
    config = {"max_pixels": 2**40, "damaged": "accept"}
    model = mlflow.pyfunc.load_model(str(folder), model_config=config)
    given = json.loads(Path(job).read_text(encoding="utf-8"))
    images = [tuple(one) for one in given["pictures"]]
    rows: list[dict[str, float]] = []
    for start in range(0, len(images), _BATCH):
        table = pd.DataFrame({"image": [_read(*one) for one in images[start : start + _BATCH]]})
        rows += model.predict(table, params=given["params"]).probabilities.tolist()
    found = {
        "classes": list(rows[0]),
        "probabilities": [list(row.values()) for row in rows],
        "latency_ms": _latency(model, [_read(*one) for one in images[: _WARM_UP + _TIMED]]),
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }
    Path(answers).write_text(json.dumps(found), encoding="utf-8")


def _read(file: str, offset: int, count: int) -> bytes:
    with Path(file).open("rb") as opened:
        opened.seek(offset)
        return opened.read(count)


def _latency(model: Any, images: list[bytes]) -> float:
    """The median of milliseconds from an image's bytes to its label."""
    import pandas as pd

    taken = []
    for image in images:
        table = pd.DataFrame({"image": [image]})
        start = time.perf_counter()
        model.predict(table)
        taken.append(1000 * (time.perf_counter() - start))
    timed = sorted(taken[_WARM_UP:] or taken)
    return timed[len(timed) // 2]


if __name__ == "__main__":
    main(*sys.argv[1:])
