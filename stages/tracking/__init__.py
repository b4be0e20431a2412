"""MLflow: one run per member and one per evaluation, linked to the code, the data and the recipe."""

import json
import logging
import os
import subprocess
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.errors import ConvoyError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The file in a stage's outputs that names the run which made them.
LINK = "run.json"
DEFAULT_URI = "sqlite:///mlflow.db"
# What a logged model needs to be loaded elsewhere, with the versions of this environment.
_REQUIREMENTS = (
    "h5py",
    "keras",
    "numpy",
    "pydantic",
    "pyyaml",
    "scikit-learn",
    "skops",
    "tensorflow-cpu",
    "tqdm",
)
_ROOT = Path(__file__).parents[2]


class TrackingError(ConvoyError):
    """The tracking server cannot be reached or refuses."""


class Run:
    """An MLflow run that is open; `link` is what a stage leaves in its outputs to point at it."""

    def __init__(self, run_id: str, experiment: str) -> None:
        self.link = {"run_id": run_id, "experiment": experiment}

    def params(self, values: Mapping[str, Any]) -> None:
        """Log nested params under dotted names."""
        import mlflow

        mlflow.log_params(_flat(values))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers, for an epoch where `step` is given."""
        import mlflow

        mlflow.log_metrics(dict(values), step=step)

    def epoch(self, number: int, values: dict[str, float]) -> None:
        """Log one epoch's metrics."""
        self.metrics(values, step=number)

    def figure(self, figure: "Figure", name: str) -> None:
        """Log a figure as an artifact."""
        import mlflow

        mlflow.log_figure(figure, f"figures/{name}")

    def file(self, path: Path) -> None:
        """Log a file as an artifact."""
        import mlflow

        mlflow.log_artifact(str(path))

    def model(self, folder: Path, rows: NDArray[Any], probabilities: NDArray[np.float32]) -> None:
        """Log a saved member as an MLflow model whose signature is that of these rows and probabilities.

        As code and files, not as a pickled object: loading it runs only the code that is logged with it.
        """
        import mlflow
        from mlflow.models import ModelSignature
        from mlflow.types.schema import Schema, TensorSpec

        signature = ModelSignature(
            inputs=Schema([TensorSpec(rows.dtype, (-1, *rows.shape[1:]))]),
            outputs=Schema([TensorSpec(probabilities.dtype, (-1, *probabilities.shape[1:]))]),
        )
        with warnings.catch_warnings():
            # It asks for an input example, although the signature says all of it.
            warnings.simplefilter("ignore")
            mlflow.pyfunc.log_model(
                name="model",
                python_model=str(_ROOT / "stages" / "tracking" / "served.py"),
                artifacts={"member": str(folder)},
                code_paths=[str(_ROOT / "stages")],
                signature=signature,
                pip_requirements=_requirements(),
            )


@contextmanager
def run(recipe: str, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """Open a run called `name` in the recipe's experiment; it ends as failed if the block raises.

    MLFLOW_TRACKING_URI says where, by default mlflow.db in the working directory.
    Raises TrackingError when the server cannot be used.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow's own seven take four minutes, silently, before a wrong address is told.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    mlflow.set_tracking_uri(uri)
    try:
        mlflow.set_experiment(recipe)
        with mlflow.start_run(run_name=name, tags={**_git(), "recipe": recipe, **tags}) as active:
            yield Run(active.info.run_id, recipe)
    except (MlflowException, SQLAlchemyError) as error:
        raise TrackingError(f"tracking at {uri}: {textwrap.shorten(str(error), 300)}") from error


def _git() -> dict[str, str]:
    """The commit and whether files differ from it; nothing outside a git repository."""

    def ask(*words: str) -> str:
        answer = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
        return answer.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    if not commit:
        return {}
    dirty = "true" if ask("status", "--porcelain", "--untracked-files=no") else "false"
    return {"git.commit": commit, "git.dirty": dirty}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    flat: dict[str, str | int | float | bool] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, str | int | float | bool) else json.dumps(value)
    return flat


def _requirements() -> list[str]:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in _REQUIREMENTS:
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return found
