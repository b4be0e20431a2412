"""The losses and probabilities of the linear classifier are those of Starter Bundle ch. 8."""

from typing import Any, cast

import numpy as np
import pytest

from stages.models.learners import sgd

# Figure 8.5: scores of dog, cat and panda for an image of each, and the hinge losses that the book prints.
SCORES = [(4.26, 1.33, -1.01), (3.76, -1.20, -3.81), (-2.37, 1.03, -2.27)]
HINGE = [0.0, 5.96, 5.20]
SQUARED_HINGE = [0.0, 4.96**2 + 2 * 4.96 + 1, 0.9**2 + 4.3**2]


def learner(loss: str) -> sgd.Sgd:
    params = {
        "kind": "sgd",
        "code": "stages/models/learners/sgd.py",
        "input": "data/packed",
        "normalize": "scale",
        "loss": loss,
        "penalty": None,
        "l1_ratio": 0.15,
        "alpha": 0.0,
        "learning_rate": 0.01,
        "epochs": 1,
        "seed": 1,
    }
    return sgd.create(sgd.Params.model_validate(params))


@pytest.mark.parametrize(
    ("loss", "expected"), [("hinge", HINGE), ("squared_hinge", SQUARED_HINGE)], ids=["hinge", "squared"]
)
def test_hinge_losses_are_those_of_figure_8_5(loss: str, expected: list[float]) -> None:
    """The book sums over the wrong classes what this loss is of one margin: right score less wrong score."""
    estimator = cast("Any", learner(loss).estimator())
    kind, *arguments = estimator.loss_functions[estimator.loss]
    of_margin = kind(*arguments).py_loss
    losses = [
        sum(of_margin(scores[label] - score, 1.0) for other, score in enumerate(scores) if other != label)
        for label, scores in enumerate(SCORES)
    ]
    assert losses == pytest.approx(expected)
    if loss == "hinge":
        assert np.mean(losses) == pytest.approx(3.72, abs=5e-3)


def test_probabilities_of_scores_are_those_of_figure_8_6() -> None:
    class Scores:
        """An estimator whose scores are its rows."""

        decision_function = staticmethod(np.asarray)

    probabilities = learner("log_loss").probabilities(Scores(), np.array([[-3.44, 1.16, 3.91]]))
    assert probabilities[0] == pytest.approx([0.0006, 0.0601, 0.9393], abs=5e-5)
    assert -np.log(probabilities[0, 2]) == pytest.approx(0.0626, abs=5e-5)
