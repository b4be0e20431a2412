"""The training monitor: loss, accuracy and learning rate, drawn while the training runs.

Starter Bundle ch. 17. Each file is either complete or as it was.
"""

import time
from collections.abc import Callable
from pathlib import Path

from stages.common.files import replace_atomically, write_json
from stages.common.history import History

CURVES = "learning_curves.png"
SERIES = "history.json"
# Share of the training's time. One drawing takes 0.3 s, as long as an epoch of a small network.
_SHARE = 0.05

# Draws a history into a PNG file. The caller hands it in: training does not import the figures.
Draw = Callable[[History, Path], None]


class Monitor:
    """Writes the history into a folder: as JSON after each epoch, as a figure as often as is cheap.

    Args:
        folder: where the files go; None writes nothing.
        draw: makes the figure; None leaves it out.
    """

    def __init__(self, folder: Path | None, draw: Draw | None) -> None:
        self._folder, self._draw, self._next = folder, draw, 0.0

    def update(self, history: History) -> None:
        """Take in the history at the end of an epoch."""
        if self._folder is None:
            return
        write_json(self._folder / SERIES, history)
        if time.monotonic() >= self._next:
            self.draw(history)

    def draw(self, history: History) -> None:
        """Draw the curves now: the training has ended or failed."""
        if self._folder is None or self._draw is None or "epoch" not in history:
            return
        started = time.monotonic()
        with replace_atomically(self._folder / CURVES) as aside:
            self._draw(history, aside)
        now = time.monotonic()
        self._next = now + (now - started) / _SHARE
