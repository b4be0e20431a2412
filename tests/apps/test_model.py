"""A model answers the applications with the code that it was logged with."""

from pathlib import Path

import mlflow
import numpy as np
import pytest

from apps import model
from apps.model import AppError
from stages.common.errors import ServingError

pytestmark = pytest.mark.slow

# Its class is that of its own package `stages`; a request of three images ends it.
SOURCE = """
import sys
import mlflow
import pandas as pd
from stages import LABEL

class Answering(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        print("a library's own words")
        if len(model_input) == 3:
            sys.exit("out of answers")
        size = [len(image) for image in model_input["image"]]
        return pd.DataFrame({"label": [LABEL] * len(size), "probability": [0.5] * len(size)})

mlflow.models.set_model(Answering())
"""
IMAGE = np.zeros((8, 8, 3), np.uint8)


def saved(folder: Path, code: str) -> str:
    """The folder of a model whose package `stages` holds this code."""
    package = folder / "parts" / "stages"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code, encoding="utf-8")
    (folder / "model.py").write_text(SOURCE, encoding="utf-8")
    # MLflow runs the file before it saves it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.LABEL", "ours", raising=False)
        mlflow.pyfunc.save_model(
            str(folder / "saved"),
            python_model=str(folder / "model.py"),
            code_paths=[str(package)],
            pip_requirements=["mlflow"],
        )
    return str(folder / "saved")


def test_a_model_runs_the_code_it_was_logged_with(tmp_path: Path) -> None:
    classify = model.load(saved(tmp_path, 'LABEL = "its own"'))
    assert classify([IMAGE, IMAGE]) == [("its own", 0.5)] * 2
    assert classify([]) == []
    with pytest.raises(AppError, match="cannot be used: out of answers"):
        classify([IMAGE] * 3)
    with pytest.raises(AppError, match="cannot be used: out of answers"):
        classify([IMAGE])


@pytest.mark.parametrize("uri", ["digits", "models:/digits", "models:/a/b/c", "", "models:/@champion"])
def test_a_text_that_is_no_address_of_a_model_is_one_line(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ServingError, match=r"is no address of a model; name one as models:/\w+@champion, "):
        model.load(uri)


def test_a_model_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AppError, match=r"saved cannot be used: .*cannot import name 'LABEL'"):
        model.load(saved(tmp_path, ""))
