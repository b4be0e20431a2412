"""The model as MLflow serves it: images in, labels and probabilities out. MLflow runs this file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from stages.common.errors import ImageError
from stages.serving.classifier import VIEWS, Classifier

if TYPE_CHECKING:
    PythonModel = object
else:
    PythonModel = mlflow.pyfunc.PythonModel


class Served(PythonModel):
    """A bundle with MLflow's interface."""

    def load_context(self, context: Any) -> None:
        """Load the bundle; MLflow calls this once."""
        self._classifier = Classifier(Path(context.artifacts["bundle"]))
        self._max_pixels = int(context.model_config["max_pixels"])
        self._damaged = context.model_config.get("damaged") == "accept"

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classify the images of a table.

        Args:
            context: MLflow's; not used.
            model_input: A table whose column `image` holds the bytes of image files.
            params: `crops`: what members trained on patches see, `center` or `ten`.

        Returns:
            A row per image: `label`, `probability` and `probabilities` (class → probability).

        Raises:
            MlflowException: With status 400, for an image that cannot be used; with its number and the
                reason.
        """
        views = (params or {}).get("crops", self._classifier.crops)
        if views not in VIEWS:
            raise _bad_request(f"crops is {views!r}; allowed: {', '.join(VIEWS)}")
        try:
            probabilities = self._classifier(
                list(model_input["image"]), views=views, max_pixels=self._max_pixels, damaged=self._damaged
            )
        except ImageError as error:
            raise _bad_request(str(error)) from None
        classes = self._classifier.classes
        best = probabilities.argmax(axis=1)
        return pd.DataFrame(
            {
                "label": [classes[place] for place in best],
                "probability": probabilities.max(axis=1).astype(float),
                "probabilities": [dict(zip(classes, row, strict=True)) for row in probabilities.tolist()],
            }
        )


def _bad_request(reason: str) -> MlflowException:
    """An error that MLflow's server answers with status 400; any other exception would show a traceback."""
    return MlflowException(reason, error_code=INVALID_PARAMETER_VALUE)


mlflow.models.set_model(Served())
