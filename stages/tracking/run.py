"""What stages log to an open run."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.common import machine
from stages.common.files import remove
from stages.common.history import History
from stages.common.redaction import redact, redact_all
from stages.tracking import parts
from stages.tracking.live import Live
from stages.tracking.record import Record, now
from stages.tracking.server import Unreachable, connected

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Links = Mapping[str, Mapping[str, str | None]]


class Run:
    """A run of MLflow. Whatever is logged is on disk at once, and on the server at the end of the stage.

    Params and epochs are also sent at once, as far as the server takes them.
    """

    def __init__(self, record: Record, live: Live) -> None:
        self._record, self._live = record, live

    @property
    def link(self) -> dict[str, str | None]:
        """What a stage leaves in its outputs to point at its run: `record`, `run_id` and `experiment`.

        While no server has answered, `run_id` is None; the record is looked up on any server.
        """
        return self._record.link

    def params(self, values: Mapping[str, Any]) -> None:
        """Log nested params under dotted names."""
        self._log("params", _flat(values))

    def tags(self, values: Mapping[str, str]) -> None:
        """Log words that runs can be searched by."""
        self._log("tags", values)

    def metrics(self, values: Mapping[str, float]) -> None:
        """Log numbers of the run as a whole."""
        time = now()
        self._log("metrics", {key: (float(value), time) for key, value in values.items()})

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Log one epoch, from 1, and the most memory in MiB held so far; an epoch already logged stays."""
        peak = {"peak_memory_mib": machine.peak_memory()}
        figures = {key: float(value) for key, value in {**values, **peak}.items()}
        self._log("epochs", {str(number): (now(), figures), **self._record.values["epochs"]})

    def history(self, history: History) -> None:
        """Log the epochs of a training that an attempt on another machine has logged, and its phases.

        Phases become runs below this one where there are several.
        """
        numbers = [str(int(number)) for number in history.get("epoch", [])]
        series = {key: values for key, values in history.items() if key != "epoch"}
        time = self._record.values["started"]
        epochs = {
            number: (time + row, {key: values[row] for key, values in series.items()})
            for row, number in enumerate(numbers)
        }
        self._log("epochs", epochs | self._record.values["epochs"])
        phases = dict(zip(numbers, history.get("phase", []), strict=False))
        for phase in sorted(set(phases.values())) if len(set(phases.values())) > 1 else []:
            part = {number: epochs[number] for number in numbers if phases[number] == phase}
            self._log("phases", {f"phase {phase:.0f}": part})

    def figure(self, figure: "Figure", name: str) -> None:
        """Log a figure as an artifact."""
        figure.savefig(self._record.artifact(f"figures/{name}"))

    def file(self, path: Path, folder: str = "") -> None:
        """Log a file as it is now as an artifact; credentials in a text file are replaced."""
        name = f"{folder}/{path.name}" if folder else path.name
        try:
            self.text(path.read_text(encoding="utf-8"), name)
        except UnicodeDecodeError:
            shutil.copyfile(path, self._record.artifact(name))

    def text(self, text: str, name: str) -> None:
        """Log text as an artifact; credentials in it are replaced."""
        self._record.artifact(name).write_text(redact(text), encoding="utf-8")

    def predictions(
        self, name: str, ids: NDArray[np.str_], labels: NDArray[np.int64], probabilities: NDArray[np.float32]
    ) -> None:
        """Log class probabilities (N, K), images' ids (N,) and class indices (N,), to compare runs by."""
        path = self._record.artifact(f"predictions/{name}.npz")
        np.savez_compressed(path, ids=ids, labels=labels, probabilities=probabilities)

    def dataset(self, digest: str, context: str, counts: Mapping[str, int]) -> None:
        """Log what was read: the manifest's digest, what for, and how many images each split has."""
        # MLflow keeps the first profile of a name and digest: the test split's would be that of the training.
        name = f"{self._record.values['recipe']} ({context})"
        profile = json.dumps({"manifest": digest, "images": dict(counts)})
        dataset = {"name": name, "digest": digest, "context": context, "profile": profile}
        self._record.values["datasets"].append(dataset | {"source": json.dumps({"manifest": digest})})
        self._record.save()

    def model(self, save: Callable[[Path], None]) -> None:
        """Log a model that takes raw images.

        Args:
            save: Writes an MLflow model into a new folder of the given name. A server that is reached later
                gets what was saved now, with the code and packages of now.
        """
        remove(self._record.model)
        save(self._record.model)

    def log_model(self, save: Callable[[Path], None]) -> str:
        """Log a model at once and return its URI; `save` as in `model`.

        Raises:
            Unreachable: The server does not answer.
        """
        if (run_id := self.link["run_id"]) is None:
            raise Unreachable("the MLflow server does not answer, and this stage needs it; run again later")
        with TemporaryDirectory() as aside, connected() as client:
            save(folder := Path(aside) / "model")
            return parts.log_model(client, run_id, folder)

    def members(
        self,
        links: Links,
        metrics: Mapping[str, float],
        params: Mapping[str, str] | None = None,
        note: str = "",
    ) -> None:
        """Log what an execution is compared by to its parent run.

        Args:
            links: Member → `link` of the run that trained it, in this execution or an earlier one.
            metrics: Headline metrics.
            params: Params that differ from the recipe's, by dotted name.
            note: The parent's description, in Markdown; links to the members' runs are added.
        """
        parent = {"links": {name: dict(link) for name, link in links.items()}, "metrics": dict(metrics)}
        self._record.values["parent"] = redact_all(parent | {"params": dict(params or {}), "note": note})
        self._record.save()

    def _log(self, kind: str, values: Mapping[str, Any]) -> None:
        # Replaced, not changed: the thread may be reading.
        self._record.values[kind] = {**self._record.values[kind], **redact_all(values)}
        self._record.save()
        self._live.send()


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    flat: dict[str, str | int | float | bool] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, str | int | float | bool) else json.dumps(value)
    return flat
