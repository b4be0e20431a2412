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
    """A bundle behind MLflow's interface."""

    def load_context(self, context: Any) -> None:
        """MLflow calls this once."""
        self._classifier = Classifier(Path(context.artifacts["bundle"]))
        self._max_pixels = int(context.model_config["max_pixels"])
        self._damaged = context.model_config.get("damaged") == "accept"

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """A row per image of the column `image`: `label`, `probability`, `probabilities` (class → number).

        An image that cannot be used is the client's mistake: status 400 with its place and the reason.
        """
        views = (params or {}).get("crops", self._classifier.crops)
        if views not in VIEWS:
            raise _refused(f"crops is {views!r}; allowed: {', '.join(VIEWS)}")
        try:
            found = self._classifier(
                list(model_input["image"]), views=views, max_pixels=self._max_pixels, damaged=self._damaged
            )
        except ImageError as error:
            raise _refused(str(error)) from None
        classes = self._classifier.classes
        best = found.argmax(axis=1)
        return pd.DataFrame(
            {
                "label": [classes[place] for place in best],
                "probability": found.max(axis=1).astype(float),
                "probabilities": [dict(zip(classes, row, strict=True)) for row in found.tolist()],
            }
        )


def _refused(reason: str) -> MlflowException:
    """What MLflow's server answers with status 400; any other exception would show a traceback."""
    return MlflowException(reason, error_code=INVALID_PARAMETER_VALUE)


mlflow.models.set_model(Served())
