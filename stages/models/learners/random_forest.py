"""A random forest on features or pixels: Practitioner Bundle ch. 3 names it beside logistic regression.

Source: L. Breiman, Random Forests, Machine Learning 45, 2001.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stages.common.history import History, OnEpoch
from stages.common.section import Positive
from stages.data.store import Reader
from stages.models.learners._sklearn import (
    Classifier,
    ClassifierParams,
    fitted_normalizer,
    labels,
    matrix,
    pipeline,
    read,
)

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# skops does not load it unasked; see `_check`.
_TREE = "sklearn.tree._tree.Tree"
_NO_CHILD = -1


class Params(ClassifierParams):
    """How many trees, and how far they grow. Trees ignore the scale of columns: `normalize` may be null.

    Attributes:
        trees: more are never worse, only slower.
        max_depth: of each tree; null: until every leaf has one class or too few images to split.
        min_leaf: images that a leaf has at least; more make smoother probabilities and smaller files.
    """

    kind: Literal["random_forest"]
    code: Literal["stages/models/learners/random_forest.py"]
    trees: Positive
    max_depth: Positive | None
    min_leaf: Positive


class RandomForest(Classifier):
    """scikit-learn's RandomForestClassifier; probabilities are the mean of the trees' class shares."""

    def __init__(self, params: Params | None, model: "Pipeline | None" = None) -> None:
        super().__init__(model)
        self._params = params

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Grow the trees on all cores, with the train split in memory; `val` is not used.

        Raises:
            LearnerError: the train split does not fit in memory, or lacks a class.
        """
        from sklearn.ensemble import RandomForestClassifier

        assert self._params is not None
        step = fitted_normalizer(self._params.normalize, train)
        classifier = RandomForestClassifier(
            self._params.trees,
            max_depth=self._params.max_depth,
            min_samples_leaf=self._params.min_leaf,
            random_state=self._params.seed,
            n_jobs=-1,
        )
        classifier.fit(step.transform(matrix(train)), labels(train))
        # The threads of `predict_proba` are those of the caller.
        classifier.n_jobs = 1
        self._model = pipeline(step, classifier)
        return {}


def create(params: Params) -> RandomForest:
    """Make a learner that is not fitted yet."""
    return RandomForest(params)


def load(folder: Path) -> RandomForest:
    """Load a fitted learner.

    Raises:
        ValueError: a tree of the file points outside of itself.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    pipeline = read(folder, RandomForestClassifier, DecisionTreeClassifier, trusted=[_TREE])
    for estimator in pipeline.named_steps["classify"].estimators_:
        _check(estimator.tree_)
    return RandomForest(None, pipeline)


def _check(tree: Any) -> None:
    """scikit-learn follows a tree's numbers without a look at them: a hostile file could read any memory."""
    numbers = np.arange(tree.node_count)
    leaves = tree.children_left == _NO_CHILD
    children = np.stack([tree.children_left, tree.children_right])[:, ~leaves]
    # scikit-learn numbers children after their parents, so what passes has no circle either.
    inside = (children > numbers[~leaves]).all() and (children < tree.node_count).all()
    features = tree.feature[~leaves]
    if not inside or (features < 0).any() or (features >= tree.n_features).any():
        raise ValueError("a tree of the forest points outside of itself")
