"""A bundle → an MLflow model: its signature, an example, what it needs, and the code that it runs."""

import shutil
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.common.files import read_json
from stages.serving import bundle

# Larger images are refused when serving, unless the program that loads the model says otherwise: a file of a
# few kilobytes can ask for gigabytes of memory. 50 megapixels are more than most cameras make.
MAX_PIXELS = 50_000_000
# Packages that classifying imports, besides those of the learners.
_ALWAYS = (
    "h5py",
    "imagecodecs",
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "pillow-heif",
    "pillow-jxl-plugin",
    "pydantic",
    "pyyaml",
    "scipy",
    "simplejpeg",
    "tifffile",
    "tqdm",
    "xxhash",
)
_FOR_FILES = {
    ".keras": ("keras", "tensorflow-cpu", "tensorflow"),
    ".h5": ("keras", "tensorflow-cpu", "tensorflow"),
    ".skops": ("scikit-learn", "skops"),
}


def save(folder: Path, path: Path) -> None:
    """Save a bundle as an MLflow model.

    As code and files, not as a pickled object: loading it runs only the code that is saved with it.

    Args:
        folder: A bundle.
        path: The new folder to write.
    """
    import mlflow

    spec = read_json(folder / bundle.SPEC)
    with warnings.catch_warnings():
        # MLflow advises type hints, which would take the place of the signature.
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            str(path),
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"bundle": str(folder)},
            code_paths=[str(bundle.CODE)],
            signature=_signature(spec["crops"]),
            input_example=_example(spec),
            pip_requirements=_requirements(folder),
            model_config={"max_pixels": MAX_PIXELS, "damaged": "reject"},
        )
    # Saving imports the code, which leaves compiled files beside it.
    for compiled in list(path.rglob("__pycache__")):
        shutil.rmtree(compiled)


def _signature(crops: str) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import ColSpec, Map

    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "image")]),
        outputs=Schema(
            [
                ColSpec(DataType.string, "label"),
                ColSpec(DataType.double, "probability"),
                ColSpec(Map(DataType.double), "probabilities"),
            ]
        ),
        params=ParamSchema([ParamSpec("crops", DataType.string, crops)]),
    )


def _example(spec: Mapping[str, Any]) -> Any:
    """A gray PNG: an example must not publish a person's image."""
    import pandas as pd

    _, png = cv2.imencode(".png", np.full(spec["resize"]["size"], 128, np.uint8))
    return pd.DataFrame({"image": [png.tobytes()]})


def _requirements(folder: Path) -> list[str]:
    """The packages with this environment's versions; TensorFlow only where there is something for Keras."""
    names = set(_ALWAYS)
    for file in folder.rglob("*"):
        names |= set(_FOR_FILES.get(file.suffix, ()))
    requirements = []
    for name in sorted(names):
        try:
            requirements.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return requirements
