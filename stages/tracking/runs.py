"""What stages log to an open run."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.tracking import surroundings
from stages.tracking.record import Record
from stages.tracking.sender import Sender
from stages.tracking.server import Unreachable, connected
from stages.tracking.writer import Writer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Run:
    """A run, or one phase of it. Whatever is logged is on disk at once, and on the server when it can be."""

    def __init__(self, record: Record, sender: Sender, writer: Writer, phase: str | None = None) -> None:
        self._record, self._sender, self._writer = record, sender, writer
        self._phase = {"phase": phase} if phase else {}
        # Of each metric the last step that an earlier attempt has logged.
        self._known: dict[str, int] = {}

    @property
    def link(self) -> dict[str, str | None]:
        """What a stage leaves in its outputs to point at its run: `record`, `run_id` and `experiment`.

        While no server has answered, `run_id` is None; the record is found on every server.
        """
        about = self._record.about
        return {"record": about["id"], "run_id": self._writer.run_id, "experiment": about["recipe"]}

    def params(self, values: Mapping[str, Any]) -> None:
        """Log nested params under dotted names."""
        self.append("params", values=_flat(values))

    def tags(self, values: Mapping[str, str]) -> None:
        """Log words that runs can be searched by."""
        self.append("tags", values=dict(values))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers, for an epoch where `step` is given; not steps that a killed attempt has logged."""
        if step is not None:
            values = {key: value for key, value in values.items() if step > self._known.get(key, -1)}
        if values:
            self.append("metrics", values={key: float(value) for key, value in values.items()}, step=step)

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Log one epoch's metrics, and the most memory in MiB that was held so far."""
        self.metrics({**values, "peak_memory_mib": surroundings.peak_memory()}, step=number)

    def figure(self, figure: "Figure", name: str) -> None:
        """Log a figure as an artifact."""
        figure.savefig(self.artifact(f"figures/{name}"))
        self.append("artifact", path=f"figures/{name}")

    def file(self, path: Path, folder: str = "") -> None:
        """Log a file as it is now as an artifact."""
        name = f"{folder}/{path.name}" if folder else path.name
        shutil.copyfile(path, self.artifact(name))
        self.append("artifact", path=name)

    def text(self, text: str, name: str) -> None:
        """Log text as an artifact."""
        self.artifact(name).write_text(text, encoding="utf-8")
        self.append("artifact", path=name)

    def predictions(
        self, name: str, ids: NDArray[np.str_], labels: NDArray[np.int64], probabilities: NDArray[np.float32]
    ) -> None:
        """Log class probabilities (N, K), images' ids (N,) and class indices (N,), to compare runs by."""
        path = f"predictions/{name}.npz"
        np.savez_compressed(self.artifact(path), ids=ids, labels=labels, probabilities=probabilities)
        self.append("artifact", path=path)

    def dataset(self, digest: str, context: str, counts: Mapping[str, int]) -> None:
        """Log what was read: the manifest's digest, what for, and how many images each split has."""
        profile = json.dumps({"manifest": digest, "images": dict(counts)})
        # MLflow keeps the first profile of a name and digest: the test split's would be that of the training.
        name = f"{self._record.about['recipe']} ({context})"
        source = json.dumps({"manifest": digest})
        self.append("input", name=name, digest=digest, context=context, source=source, profile=profile)

    def model(self, name: str) -> None:
        """Log the member in the folder that `run` was given as a model that takes raw images."""
        self.append("model", name=name)

    def members(self, links: Mapping[str, Mapping[str, str | None]], metrics: Mapping[str, float]) -> None:
        """Point at the members' runs, here and on the execution's run, which also gets these metrics."""
        self.append(
            "members", values={name: dict(link) for name, link in links.items()}, metrics=dict(metrics)
        )

    @contextmanager
    def phase(self, name: str) -> Iterator["Run"]:
        """A run of its own below this one: a phase of a training, or a trial of a sweep."""
        inner = Run(self._record, self._sender, self._writer, name)
        with ending(inner):
            yield inner

    @contextmanager
    def active(self) -> Iterator[str]:
        """Make it MLflow's active run, for MLflow's own functions; yields its id.

        Raises Unreachable when there is no server: nothing of this is kept.
        """
        import mlflow

        with connected():
            if self._writer.run_id is None:
                raise Unreachable("tracking is away; this needs it")
            mlflow.start_run(run_id=self._writer.run_id)
            try:
                yield self._writer.run_id
            finally:
                # The stage goes on: MLflow's context manager would say FINISHED here.
                mlflow.end_run("RUNNING")

    def artifact(self, name: str) -> Path:
        """Where a file is to be put that a line of the kind `artifact` names."""
        path = self._record.artifacts / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def append(self, kind: str, **values: Any) -> None:
        """Log a line of a kind that writer.py knows."""
        self._record.append(kind, **self._phase, **values)
        self._sender.more()

    def go_on(self) -> None:
        """After a killed attempt, whose record may lie here or with the machine that it ran on."""
        self._known = self._writer.steps()
        for line in self._record.lines():
            if line["kind"] == "metrics" and line["step"] is not None and "phase" not in line:
                for key in line["values"]:
                    self._known[key] = max(self._known.get(key, -1), line["step"])


@contextmanager
def ending(opened: Run) -> Iterator[None]:
    """Say at the end how it ended."""
    try:
        yield
    except Exception as error:
        opened.tags({"error": str(error)})
        opened.append("end", status="FAILED")
        raise
    except BaseException:
        opened.append("end", status="KILLED")
        raise
    opened.append("end", status="FINISHED")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    flat: dict[str, str | int | float | bool] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, str | int | float | bool) else json.dumps(value)
    return flat
