"""A member as MLflow serves it: rows in, class probabilities out. MLflow runs this file to load it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from numpy.typing import NDArray

from stages import learners

if TYPE_CHECKING:
    PythonModel = object
else:
    PythonModel = mlflow.pyfunc.PythonModel


class Member(PythonModel):
    """Loads what `train` saved."""

    def load_context(self, context: Any) -> None:
        """MLflow calls this once."""
        self._learner = learners.load(Path(context.artifacts["member"]))

    # A bare ndarray is the one hint that MLflow does not take for a schema in place of the logged signature.
    def predict(
        self,
        context: Any,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> NDArray[np.float32]:
        """Class probabilities (N, K) of rows as the member reads them."""
        return self._learner.predict_proba(np.asarray(model_input))


mlflow.models.set_model(Member())
