"""Check, before images are resized, that networks can be built for their size, with weights and precision."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from stages.common import fingerprint
from stages.common.errors import ConvoyError, ParamsError
from stages.common.files import read_json, write_json
from stages.common.keras_import import import_keras
from stages.models import environment, extractors, networks
from stages.models.learners import cnn, fine_tuning
from stages.params import Params

_RESULT = Path(".convoy/networks_checked.json")


def check_in_process(params: Params, path: Path, log: Path) -> None:
    """Check in a process of its own, which gives Keras' memory back.

    Once for the same params, weights, packages, Keras backend and machine.

    Args:
        params: The run's params.
        path: Their YAML file.
        log: Where the output of the process goes.

    Raises:
        SystemExit: With the status of the check, after its line.
    """
    passed = fingerprint.digest(
        params.model_dump(include={"extractors", "models"}),
        params.resize.shape,
        _weights(params),
        environment.describe(),
    )
    if _RESULT.exists() and read_json(_RESULT) == passed:
        return
    height, width, _ = params.resize.shape
    sys.stdout.write(f"Checking that networks and weights fit images of {height} x {width} pixels, once\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "stages.tools.check", "--networks", "--params", str(path)]
    # Keras shows the progress of a download on standard output.
    with log.open("w", encoding="utf-8") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.stderr.write(_error_lines(done.stderr))
        sys.exit(done.returncode)
    write_json(_RESULT, passed)


def check_networks(params: Params) -> None:
    """Build every extractor and every network for the images' size, with its weights. Imports Keras: seconds.

    Raises:
        ParamsError: The image size does not suit one of them, or weights are missing or of another network.
        LearnerError: A network cannot be built for this size, has no layer of the name to unfreeze from, or
            would train in a precision that this machine does not compute in.
        DownloadError: ImageNet's weights cannot be downloaded.
    """
    shape = params.resize.shape
    for name, extractor in params.extractors.items():
        try:
            extractors.prepare(extractor, shape)
        except ConvoyError as error:
            raise type(error)(f"extractors.{name}: {error}") from None
    for name, model in params.models.items():
        try:
            if isinstance(model, cnn.Params | fine_tuning.Params):
                _build(model, shape)
        except ConvoyError as error:
            raise type(error)(f"models.{name}: {error}") from None


def _build(model: cnn.Params | fine_tuning.Params, shape: tuple[int, int, int]) -> None:
    import_keras()
    from stages.models.training import computing

    with computing.precision(model.train.precision):
        if isinstance(model, fine_tuning.Params):
            _, body = fine_tuning.build(model, shape, classes=2)
            if model.fine_tune:
                fine_tuning.last_layers(body, model.fine_tune.unfreeze)
            return
        height, width = model.patch or shape[:2]
        if height > shape[0] or width > shape[1]:
            raise ParamsError(
                f"patch is {height}x{width}, larger than resize.size, {shape[0]}x{shape[1]}; "
                "make patch smaller or resize.size larger"
            )
        networks.build(
            model.network, (height, width, shape[2]), classes=2, statistics=None, chosen=model.options
        )


def _weights(params: Params) -> list[tuple[str, int, int]]:
    """Name, size and time of the weights' files: another file is checked again."""
    dumped: Any = params.model_dump(include={"extractors", "models"}, mode="json")
    paths = sorted({Path(name).expanduser() for name in _values(dumped, "weights")})
    files = [(str(path), path.stat()) for path in paths if path.is_file()]
    return [(name, facts.st_size, facts.st_mtime_ns) for name, facts in files]


def _values(values: Any, key: str) -> list[str]:
    """The texts that a key has, anywhere in nested mappings."""
    if not isinstance(values, dict):
        return []
    own = [values[key]] if isinstance(values.get(key), str) else []
    return own + [text for value in values.values() for text in _values(value, key)]


def _error_lines(text: str) -> str:
    """The command's own lines, without those of libraries."""
    own = [line for line in text.splitlines() if "level=error" in line]
    return "\n".join(own or text.splitlines()[-3:]) + "\n"
