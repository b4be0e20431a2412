"""A trained model as the applications use it, and their images."""

import atexit
import base64
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stages import tracking
from stages.common.errors import ConvoyError, DownloadError, is_failed_download
from stages.common.redaction import redact
from stages.serving import address, registry

Pixels = NDArray[np.uint8]
# Images (H, W, 1 or 3) uint8, RGB → the label of each and the model's confidence in it, 0 to 1.
Classifier = Callable[[Sequence[Pixels]], list[tuple[str, float]]]


class AppError(ConvoyError):
    """An application cannot use what it was given: an image, a video, a model, a detector's weights."""


def load(uri: str) -> Classifier:
    """Load a model from MLflow, in a process with the code that the model was logged with.

    Args:
        uri: `models:/captcha@champion`, `models:/m-…`, or a folder.

    Returns:
        A function that classifies images; it raises AppError when the process has ended.

    Raises:
        AppError: When there is no such model, or it cannot be used.
        ServingError: When the address has no such form, or the model has no champion.
        DownloadError: MLflow or its artifact store does not answer.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    address.check_form(uri)
    with tracking.connected():
        try:
            registry.check_champion(uri)
            # Without a folder, MLflow downloads into one of its own and leaves it.
            folder = mlflow.artifacts.download_artifacts(uri, dst_path=_temporary_folder())
        except (MlflowException, OSError) as error:
            kind = DownloadError if is_failed_download(error) else AppError
            raise kind(f"--model {uri}: {redact(str(error).splitlines()[0])}") from error
    return _Process(uri, folder).classify


class _Process:
    """The process that loads a model and classifies; see classifying.py for its requests and answers."""

    def __init__(self, uri: str, folder: str) -> None:
        self._uri = uri
        self._printed = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("classifying.py")), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
        )
        atexit.register(self._process.kill)
        # The model is loaded when the process says so.
        self._answer()

    def classify(self, images: Sequence[Pixels]) -> list[tuple[str, float]]:
        """The label of each image and the confidence in it. Raises AppError when the process has ended."""
        if not images:
            return []
        request = json.dumps([base64.b64encode(png(image)).decode() for image in images])
        assert self._process.stdin is not None
        # Of a process that has ended: there is no answer either, and `_answer` says why.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{request}\n".encode())
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> list[tuple[str, float]]:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            self._process.wait()
            self._printed.seek(0)
            reason = (self._printed.read().strip().splitlines() or ["no reason given"])[-1]
            raise AppError(f"--model {self._uri} cannot be used: {redact(reason)}")
        return [(label, confidence) for label, confidence in json.loads(line)]


def _temporary_folder() -> str:
    """A folder until the process ends."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return folder.name


def png(pixels: Pixels) -> bytes:
    """Encode gray or RGB pixels as a PNG file."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels
    return bytes(cv2.imencode(".png", bgr)[1])


def check_copies(files: Sequence[Path], copies: Sequence[Path]) -> None:
    """Make sure that no file is lost by writing a copy of each.

    Args:
        files: The files that a person named.
        copies: What will be written for each of them.

    Raises:
        AppError: When a copy would replace one of the files, or another file's copy.
    """
    named = {_identity(file) for file in files if file.exists()}
    originals: dict[Path, Path] = {}
    for file, copy in zip(files, copies, strict=True):
        if copy.exists() and _identity(copy) in named:
            raise AppError(f"{file}: its copy would replace the original {copy}; name another folder")
        other = originals.setdefault(copy, file)
        if other != file:
            raise AppError(f"{other} and {file} would have the same copy, {copy}; name a folder for each")


def _identity(path: Path) -> tuple[int, int]:
    """The same for all spellings of a path, and for a link and what it leads to."""
    facts = path.stat()
    return facts.st_dev, facts.st_ino


def read(path: Path) -> Pixels:
    """Read an image file.

    Returns:
        RGB pixels, (H, W, 3) uint8.

    Raises:
        AppError: When the file cannot be read, or is no image.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise AppError(f"{path}: {error.strerror}") from error
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if pixels is None:
        raise AppError(f"{path}: not an image that OpenCV can read")
    return np.asarray(pixels, np.uint8)
