"""Classify images by logged models: `python -I judge.py JOB ANSWERS`, a process of its own.

A champion brings the code it was logged with, a package named `stages` like the one that judges it, and one
process cannot hold two packages of one name. So this file is run by its path and imports nothing of them.
Models with the same code share a process: loading MLflow and TensorFlow takes longer than most judgements.
"""

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_BATCH = 64
# Timed are single images, as most requests hold one; the first of them warm the model up.
_WARM_UP, _TIMED = 5, 30
# The exit status of transient errors in `stages/common/errors.py`, which this process cannot import.
_TRANSIENT = 75


def main(job: str, answers: str) -> None:
    """Classify the images of a job.

    Args:
        job: A JSON file with `models`, MLflow's URIs; `images`, a list of [file, offset, bytes]; `params`,
            the models' own; and `timed`, whether to time the answers to single images.
        answers: The JSON file to write: a list with an entry per model, in order. An entry has `classes`,
            `probabilities`, the name of a file beside it (float64, images x classes), `latencies_ms` (one
            number per timed image) and `bytes`, the size of the model's files. The list ends before the first
            model that was logged with other code than the models before it: it needs a process of its own.
            The models are downloaded beside it.

    Raises:
        SystemExit: MLflow does not answer; the status is that of transient errors.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    task = json.loads(Path(job).read_text(encoding="utf-8"))
    images = [tuple(place) for place in task["images"]]
    first_code: dict[str, bytes] | None = None
    written: list[dict[str, Any]] = []
    for number, uri in enumerate(task["models"]):
        # MLflow and TensorFlow make a million objects, none of them garbage. `_classified` collects again.
        gc.disable()
        folder = _download(uri, Path(answers).with_name(f"model-{number}"))
        code = _code(folder)
        if first_code is not None and code != first_code:
            break
        first_code = code
        timed = images[: _WARM_UP + _TIMED] if task["timed"] else []
        probabilities = Path(answers).with_name(f"probabilities-{number}.npy")
        written.append(_classified(folder, images, task["params"], timed, probabilities))
        # As a whole: this process may be killed while it writes.
        aside = Path(f"{answers}.aside")
        aside.write_text(json.dumps(written), encoding="utf-8")
        aside.replace(answers)
    # The process ends without a last collection.
    gc.freeze()


def _download(uri: str, to: Path) -> Path:
    import mlflow
    from requests import exceptions

    # A host without an address is none of Python's own ConnectionErrors; other stores than HTTP raise these.
    no_answer = (
        *(ConnectionError, TimeoutError),
        *(exceptions.ConnectionError, exceptions.Timeout, exceptions.RetryError),
    )
    # Without a folder, MLflow downloads into one of its own and leaves it.
    to.mkdir()
    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(to)))
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, no_answer):
                sys.stderr.write(" ".join(str(error).split()))
                raise SystemExit(_TRANSIENT) from None
            cause = cause.__cause__ or cause.__context__
        raise


def _code(folder: Path) -> dict[str, bytes]:
    """The code that a model was logged with."""
    paths = (path for path in (folder / "code").rglob("*.*") if path.suffix != ".pyc" and path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _classified(
    folder: Path,
    images: list[tuple[Any, ...]],
    params: dict[str, str] | None,
    timed: list[tuple[Any, ...]],
    probabilities: Path,
) -> dict[str, Any]:
    import mlflow
    import numpy as np
    import pandas as pd

    # All of these images passed ingest's own limits.
    config = {"max_pixels": 2**40, "damaged": "accept"}
    model = mlflow.pyfunc.load_model(str(folder), model_config=config)
    gc.freeze()
    gc.enable()
    # With 1,000 classes a row takes 50 kB as a dict, and 8 kB in an array.
    parts: list[Any] = []
    for start in range(0, len(images), _BATCH):
        table = pd.DataFrame({"image": [_read(*place) for place in images[start : start + _BATCH]]})
        rows: list[dict[str, float]] = model.predict(table, params=params).probabilities.tolist()
        parts.append(np.array([list(row.values()) for row in rows]))
    np.save(probabilities, np.concatenate(parts), allow_pickle=False)
    return {
        "classes": list(rows[0]),
        "probabilities": probabilities.name,
        "latencies_ms": _latencies(model, [_read(*place) for place in timed]),
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }


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
