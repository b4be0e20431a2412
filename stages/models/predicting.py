"""Class probabilities of a fitted learner, computed by this process or by Dask's workers.

Rows are computed a portion at a time, and no portion needs another one. So workers do not communicate, and
the probabilities are those of one process to the byte. A worker that lacks the learner is sent its files,
once.
"""

import io
import platform
import threading
import uuid
import zipfile
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common import fingerprint
from stages.common.errors import TransientError
from stages.common.executor import Executor
from stages.data import crops
from stages.data.crops import Patch, Pixels
from stages.models import environment, learners
from stages.models.protocols import Learner

# The learner that this process used last, by the key of `probabilities`.
_LOADED: dict[str, Learner] = {}
_LOCK = threading.Lock()
# Learners save into these, besides spec.json.
_MODEL = "model.*"


class Predictor:
    """Computes class probabilities float32 (n, K) of n rows, by an executor. Threads may call it at once."""

    def __init__(self, executor: Executor, member: Path, patch: Patch | None) -> None:
        """Load the member.

        Args:
            executor: Makes the calls.
            member: The folder that `train` wrote.
            patch: (height, width) of the crops of a row, ten of which are averaged; None: whole rows.

        Raises:
            LearnerError: The folder holds no member of this version.
        """
        self._executor, self._member, self._patch = executor, member, patch
        self._key = uuid.uuid4().hex
        self._files: bytes | None = None
        self._reading = threading.Lock()
        with _LOCK:
            _hold(self._key, learners.load(member))

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Compute the probabilities of rows (n, …)."""
        return self._executor.call_supplied(probabilities, rows, self._key, self._patch, supply=self._packed)

    def _packed(self) -> bytes:
        """The member's files as a ZIP archive; read when a worker lacks them."""
        with self._reading:
            if self._files is None:
                buffer = io.BytesIO()
                with zipfile.ZipFile(buffer, "w") as archive:
                    for path in [self._member / learners.SPEC, *sorted(self._member.glob(_MODEL))]:
                        archive.write(path, path.name)
                self._files = buffer.getvalue()
            return self._files


def follows_from(kind: str) -> dict[str, Any]:
    """What a worker has to share with the stage: code, versions and kind of processor."""
    code = fingerprint.code("stages.predict", {learners.__name__: (kind,)})
    return {"code": code, **environment.describe()}


def probabilities(
    rows: NDArray[Any], key: str, patch: Patch | None, files: bytes | None = None
) -> NDArray[np.float32] | None:
    """Compute class probabilities by the learner that this process holds under a key.

    Args:
        rows: Images uint8 (n, H, W, C) or features float32 (n, D).
        key: The learner's.
        patch: As `Predictor` has it.
        files: The learner's files, a ZIP archive, where an earlier call was answered by None.

    Returns:
        float32 (n, K); None where this process does not hold the learner, and needs its files.

    Raises:
        TransientError: The learner's files cannot be written to this machine.
    """
    # Loading in the lock: Keras cannot be imported by two threads at once, and the learner is loaded once.
    with _LOCK:
        learner = _LOADED.get(key)
        if learner is None:
            if files is None:
                return None
            learner = _hold(key, _unpacked(files))
    return _ten_crops(learner, patch, rows) if patch else learner.predict_proba(rows)


def _hold(key: str, learner: Learner) -> Learner:
    """Hold a learner in the place of the last one."""
    _LOADED.clear()
    _LOADED[key] = learner
    return learner


def _unpacked(files: bytes) -> Learner:
    """Load a learner of its files, by way of this machine's folder for temporary files."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(TemporaryDirectory(prefix="convoy-member-"))
            zipfile.ZipFile(io.BytesIO(files)).extractall(folder)
        except OSError as error:
            raise TransientError(
                f"{platform.node()} cannot write the member into {gettempdir()}: {error.strerror}; "
                "free space there, or stop the worker"
            ) from None
        return learners.load(Path(folder))


def _ten_crops(learner: Learner, patch: Patch, pixels: Pixels) -> NDArray[np.float32]:
    """The mean over crops, one crop of all images at a time: ten at once take ten times the memory."""
    of_crops = [learner.predict_proba(crop) for crop in crops.ten(pixels, patch)]
    return np.asarray(np.mean(of_crops, axis=0), np.float32)
