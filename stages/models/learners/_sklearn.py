"""What the scikit-learn classifiers share: their rows, their normalization, and files without pickle.

A fitted classifier is a pipeline of two steps, `normalize` and `classify`, so that it takes rows as the store
holds them. Images become one row of H*W*C numbers.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, model_validator
from pydantic_core import PydanticCustomError

from stages.common import log
from stages.common.errors import LearnerError
from stages.common.limits import available_memory
from stages.common.section import Seed
from stages.data import portions
from stages.data.store import Reader
from stages.models.protocols import LearnerParams

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

_FILE = "model.skops"
_IMAGES = "data/packed"
# Multiplications in a matrix product: about 10 ms on one core. BLAS' threads wait for each other by spinning.
# On two busy cores, logistic regression of the recipe digits (1,259 x 324 features) takes 10.7 CPU seconds
# with two threads and 0.4 with one.
_WORTH_THREADS = 2**28

Normalize: TypeAlias = Literal["scale", "standardize", "l2"]


def _check_input(folder: str) -> str:
    if folder != _IMAGES and not folder.startswith("features/"):
        raise PydanticCustomError("input", "allowed: data/packed or features/EXTRACTOR")
    return folder


class ClassifierParams(LearnerParams):
    """The params of the scikit-learn classifiers.

    Attributes:
        input: `data/packed` or `features/EXTRACTOR`.
        normalize: null takes the numbers as they are, pixels 0-255; `scale` divides pixels by 255;
            `standardize` subtracts each column's mean on the train split and divides by its standard
            deviation; `l2` divides each row by its length, so that an image's contrast does not count.
        seed: decides all that is random.
    """

    input: Annotated[str, AfterValidator(_check_input)]
    normalize: Normalize | None
    seed: Seed

    @model_validator(mode="after")
    def _check_scale_is_of_pixels(self) -> Self:
        if self.normalize == "scale" and self.input != _IMAGES:
            raise PydanticCustomError(
                "normalize", "normalize: scale is of pixels; allowed: null, standardize, l2"
            )
        return self


class Classifier:
    """A pipeline of scikit-learn as a learner; a subclass adds `fit`, which makes the pipeline."""

    def __init__(self, model: "Pipeline | None" = None) -> None:
        self._model = model

    @property
    def model(self) -> "Pipeline":
        """The fitted pipeline."""
        assert self._model is not None
        return self._model

    def predict_proba(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Class probabilities float32 (N, K) of images uint8 (N, H, W, C) or features float32 (N, D)."""
        probabilities: NDArray[np.float32] = self.model.predict_proba(flat(rows)).astype(np.float32)
        return probabilities

    def save(self, folder: Path) -> None:
        """Write the fitted pipeline with skops: no pickle, so loading it runs no code."""
        _skops_io().dump(self.model, folder / _FILE)

    def describe(self, folder: Path) -> list[Path]:
        """Write the steps and their settings into an existing folder; returns the files."""
        path = folder / "architecture.txt"
        path.write_text(f"{self.model!r}\n", encoding="utf-8")
        return [path]


def read(folder: Path, *estimators: type, trusted: Sequence[str] = ()) -> "Pipeline":
    """Read the pipeline that `save` wrote.

    Args:
        folder: `models/NAME`.
        estimators: scikit-learn's classes that the second step may be made of.
        trusted: types that skops shall load besides those it knows to be harmless. The caller checks them.

    Raises:
        TypeError: the file holds another type.
    """
    from sklearn.frozen import FrozenEstimator
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, Normalizer, StandardScaler

    steps = (Pipeline, FrozenEstimator, FunctionTransformer, MinMaxScaler, Normalizer, StandardScaler)
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in (*steps, *estimators)]
    read: Pipeline = _skops_io().load(folder / _FILE, trusted=[*names, *trusted])
    return read


def _skops_io() -> ModuleType:
    """Import skops without the lists of what it trusts by itself; `read` names the types of its file instead.

    For them it imports the whole of scikit-learn, 0.5 of 2.2 CPU seconds, and looks for each function of
    `scipy.special` in every loaded module: 0.7 CPU seconds beside TensorFlow and MLflow.
    """
    import scipy.special
    import sklearn.utils

    all_estimators = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = list
    vars(scipy.special)["__dir__"] = list
    try:
        return import_module("skops.io")
    finally:
        sklearn.utils.all_estimators = all_estimators
        del vars(scipy.special)["__dir__"]


@contextmanager
def blas_threads(multiplications: int) -> Iterator[None]:
    """Let BLAS use one thread in this block where a matrix product has few multiplications."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1 if multiplications < _WORTH_THREADS else None, user_api="blas"):
        yield


def pipeline(normalize: "BaseEstimator", classify: "BaseEstimator") -> "Pipeline":
    """Join the two steps under their names."""
    from sklearn.pipeline import Pipeline

    return Pipeline([("normalize", normalize), ("classify", classify)])


def normalizer(how: Normalize | None, columns: int) -> "BaseEstimator":
    """Make the first step for rows of so many columns; only `standardize` needs a fit."""
    from sklearn.frozen import FrozenEstimator
    from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, Normalizer, StandardScaler

    if how == "standardize":
        return StandardScaler()
    if how == "l2":
        return Normalizer()
    if how == "scale":
        # Frozen: a fit, such as in the folds of a grid search, leaves the range at 0-255.
        return FrozenEstimator(MinMaxScaler().fit([[0.0] * columns, [255.0] * columns]))
    return FunctionTransformer()


def fitted_normalizer(how: Normalize | None, train: Reader) -> "BaseEstimator":
    """Make the first step and fit it on batches of the train split, with the memory of one batch."""
    step = normalizer(how, width(train))
    if how == "standardize":
        for batch in train.batches(portions.size(train.shape)):
            step.partial_fit(flat(batch))
    return step


def flat(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows float32 (N, D): what scikit-learn computes with, and half of its usual float64."""
    return rows.reshape(len(rows), -1).astype(np.float32, copy=False)


def width(rows: Reader) -> int:
    """The number D of columns of a flat row."""
    return int(np.prod(rows.shape[1:]))


def labels(train: Reader) -> NDArray[np.int64]:
    """Class indices (N,).

    Raises:
        LearnerError: the train split has no image of a class. scikit-learn would leave the class out, and
            every later column would be another class'.
    """
    indices: NDArray[np.int64] = train.column("labels")
    classes: list[str] = train.provenance["classes"]
    counts = np.bincount(indices, minlength=len(classes))
    if missing := [name for name, count in zip(classes, counts, strict=True) if not count]:
        raise LearnerError(f"{train.path} has no image of {', '.join(missing)}")
    return indices


def matrix(train: Reader) -> NDArray[np.float32]:
    """Read the whole split as float32 (N, D), for learners that cannot learn from batches.

    Raises:
        LearnerError: the split is larger than the memory of the machine or the container.
    """
    needed = len(train) * width(train) * 4
    memory = available_memory()
    if needed > memory:
        raise LearnerError(
            f"{train.path} takes {needed / 2**30:.1f} GiB in memory, which has {memory / 2**30:.1f}; "
            "sgd, perceptron and mlp learn from any size"
        )
    out = np.empty((len(train), width(train)), np.float32)
    start = 0
    for batch in train.batches(portions.size(train.shape)):
        out[start : start + len(batch)] = flat(batch)
        start += len(batch)
    return out


@contextmanager
def warnings_in_the_log() -> Iterator[None]:
    """Log each warning of the block in one line, with how often it came."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    messages = [" ".join(str(warning.message).split()) for warning in caught]
    for message in dict.fromkeys(messages):
        text = message.partition(". ")[0].rstrip(".")
        log.warning("received_warning", text=text, times=messages.count(message))
