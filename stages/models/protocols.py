"""What a learner and an extractor are: the protocols and params that every plug-in of this room follows.

`learners/` and `extractors/` find the plug-ins by their file names; this module says what those files hold.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stages.common.history import History, OnEpoch
from stages.common.section import Section
from stages.data.store import Reader

# Images uint8 (N, H, W, C) → features float32 (N, D). Several threads call it at once.
Extract = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class LearnerParams(Section):
    """The params of every member.

    Attributes:
        kind: the learner's file in `stages/models/learners`, without `.py`.
        input: the folder that the member reads, `data/packed` or `features/EXTRACTOR`.
        code: the file that DVC watches for this member alone. DVC's templates know no conditions, and only
            some learners have a network, so dvc.yaml cannot derive it; the files of conf/model/ do.
    """

    kind: str
    input: str
    code: str


class ExtractorParams(Section):
    """The params of every extractor.

    Attributes:
        kind: the extractor's file in `stages/models/extractors`, without `.py`.
    """

    kind: str


class Learner(Protocol):
    """One member of the ensemble, from its first epoch to its probabilities.

    A file of `stages/models/learners` holds such a class, its `Params`, and two functions:
    `create(params) -> Learner` (not fitted) and `load(folder) -> Learner` (fitted).

    Example:
        learner = learners.create(params)
        history = learner.fit(train, val, on_epoch=lambda number, metrics: print(number, metrics))
        learner.save(folder)
    """

    def fit(self, train: Reader, val: Reader, on_epoch: OnEpoch) -> History:
        """Learn from the train split.

        Args:
            train: images uint8 (N, H, W, C) or features float32 (N, D), with the column `labels`.
            val: the same for the val split; for reports and for choices between epochs, never to fit on.
            on_epoch: called after each epoch with its number, from 1, and its metrics.

        Returns:
            The history: per series one value for each epoch; empty for learners without epochs.

        Raises:
            LearnerError: the data do not suit the params.
        """

    def predict_proba(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Predict classes; several threads call it at once.

        Args:
            rows: images uint8 (N, H, W, C) or features float32 (N, D), as the store holds them.

        Returns:
            Class probabilities float32 (N, K), whose rows sum to 1.
        """

    def save(self, folder: Path) -> None:
        """Write what `load` needs into an existing folder: data only, no pickle, in files named `model.*`."""

    def describe(self, folder: Path) -> list[Path]:
        """Write descriptions for people (layers, settings) into an existing folder.

        Returns:
            The files written.
        """


@runtime_checkable
class Resumable(Protocol):
    """A learner that writes checkpoints and resumes from them.

    Attributes:
        checkpoints: the folder of the checkpoints; None trains without.
        draw_curves: draws the history of a running training into a PNG file; None leaves it out.
        on_built: called with the learner when its network is built, before it is trained; None: nothing is.
    """

    checkpoints: Path | None
    draw_curves: Callable[[History, Path], None] | None
    on_built: Callable[[Any], None] | None
