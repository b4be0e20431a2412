"""The training monitor: loss, accuracy and learning rate, drawn while the training runs.

Starter Bundle ch. 17, with each file either complete or as it was.
"""

import time
from pathlib import Path

from stages.common.files import replacing, write_json
from stages.common.history import History

CURVES = "learning_curves.png"
SERIES = "history.json"
# Of the training's time: drawing takes 0.3 s, as long as an epoch of a small network.
_SHARE = 0.05


class Monitor:
    """Writes the history into a folder, as JSON after each epoch, and as an image as often as is cheap."""

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._next = folder, 0.0

    def update(self, history: History) -> None:
        """An epoch has ended."""
        if self._folder is None:
            return
        write_json(self._folder / SERIES, history)
        if time.monotonic() >= self._next:
            self.draw(history)

    def draw(self, history: History) -> None:
        """Draw the curves now: the training has ended, well or not."""
        if self._folder is None or "epoch" not in history:
            return
        from stages.report.figures import charts

        started = time.monotonic()
        with replacing(self._folder / CURVES) as aside:
            charts.history(history).savefig(aside, format="png")
        now = time.monotonic()
        self._next = now + (now - started) / _SHARE
