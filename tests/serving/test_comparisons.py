"""What a served challenger has to agree with before it is judged."""

from pathlib import Path

import numpy as np
import pytest

from stages.common.errors import ServingError
from stages.data import store
from stages.scoring.predictions import Predictions
from stages.scoring.served import Served
from stages.serving import comparisons
from stages.serving.challengers import Challenger

IDS = np.array(["a" * 16, "b" * 16])


@pytest.mark.parametrize("served", [0.7, np.nan])
def test_probabilities_other_than_those_of_predict_are_refused(tmp_path: Path, served: float) -> None:
    """No number is above the limit that `nan` would be compared with."""
    predicted = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    with store.create(
        tmp_path / "test.h5", "probabilities", (2, 2), np.float32, ids=IDS, provenance={}
    ) as out:
        out.write(0, predicted)
        out.columns["labels"] = np.array([0, 1])
    challenger = Challenger("net", {}, {}, tmp_path)
    answers = Served(Predictions(IDS, np.array([0, 1]), predicted.copy()), ["cat", "dog"], (1.0,), 1)
    comparisons._check_parity(answers, challenger, "models:/net/1")
    answers.predictions.probabilities[1] = served, 1 - served
    with pytest.raises(ServingError, match="what it serves is not what was evaluated"):
        comparisons._check_parity(answers, challenger, "models:/net/1")
