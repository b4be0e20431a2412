"""The cost of tasks when one image in a hundred is new: each stage in a clone, as under Airflow.

A task is `python -m pipelines.worker` with the variables that every runner sets: a fresh clone, one DVC
cache and one store of image results for all. With --image it runs in a container, which mounts the shared
folder and the repository. Airflow itself is left out: it waits. Decodes and forward passes are what the
stages report. CPU seconds are those of the worker and of all that it starts. The seconds to a stage's start
count from the start of the process or the container; a task that only imports DVC is their yardstick.
"""

import json
import math
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import bench_change, images
from benchmarks.harness import Settings, markdown
from benchmarks.workspace import ROOT, environment, params_text
from stages import cli
from stages.common.errors import ConvoyError

_STAGES = ("ingest", "audit", "resize", "mean", "pack", "extract@measured")
_FOLDERS = ("cache", "state", "work", "data")
_EVENTS = ("ingested_images", "audited_data", "resized_images", "extracted_features")
_HEADER = ("task", "CPU s, 1 % new", "from nothing", "share", "s to its start", "decodes", "passes")
# Of the shell and of its children: minutes and seconds, user and system.
_TIMES = re.compile(r"^(\d+)m([\d.]+)s (\d+)m([\d.]+)s$", re.MULTILINE)


class Task(NamedTuple):
    """CPU seconds, seconds until DVC starts the stage, images decoded, images through the extractor."""

    cpu: float
    start: float
    decodes: int
    passes: int


def measure(*, count: int = 2_000, weights: Path | None = None, image: str = "") -> None:
    """Run all tasks with 1 % new images and from nothing, and print what each took.

    Args:
        count: How many photographs.
        weights: Of MobileNetV2 at width 0.35 without its top; by default random ones.
        image: A container image of the stages, such as convoy/train; by default tasks are processes.
    """
    # Containers mount the folder, and an engine may run as another user.
    with tempfile.TemporaryDirectory(prefix="convoy-bench-") as folder:
        work = Path(folder).resolve()
        work.chmod(0o755)
        source = images.small(Settings(None, count / 10_000, 1, work))
        file = work / "backbone.weights.h5"
        if weights is None:
            bench_change.save_backbone(file)
        else:
            shutil.copyfile(weights, file)
        changed = _Tasks(work / "changed", file, image)
        files = sorted(path for path in source.rglob("*") if path.is_file())
        changed.add(source, [path for number, path in enumerate(files) if number % bench_change.NEW])
        changed.run()
        changed.add(source, files[:: bench_change.NEW])
        new = changed.run()
        nothing = _Tasks(work / "nothing", file, image)
        nothing.add(source, files)
        print(_table(new, nothing.run()))
        print(f"\nseconds to import DVC, likewise: {nothing.imported():.1f}")
    print(f"{count} images, load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores")


class _Tasks:
    """The folder that a project's tasks share."""

    def __init__(self, root: Path, weights: Path, image: str) -> None:
        self._root, self._image = root, image
        for name in _FOLDERS:
            (root / name).mkdir(parents=True)
        shutil.copyfile(weights, root / weights.name)
        extractor = bench_change.backbone(root / weights.name)
        self._params = params_text(extractor, "datasets/images", bench_change.SIDE)

    def add(self, source: Path, files: Iterable[Path]) -> None:
        """Copy files of a folder into the project's source."""
        for path in files:
            copy = self._root / "data" / "images" / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)

    def run(self) -> dict[str, Task]:
        """Run each stage in turn, as a task."""
        return {stage: self._task(stage) for stage in _STAGES}

    def imported(self) -> float:
        """Seconds until a task that only imports DVC has done so."""
        return self._started("python -c 'import dvc.repo; print(1)'", {}, "1")[0]

    def _task(self, stage: str) -> Task:
        result = self._root / "result.json"
        variables = {
            "CONVOY_ACTION": "stage",
            "CONVOY_STAGE": stage,
            "CONVOY_PARAMS": self._params,
            "CONVOY_MESSAGES": json.dumps(_EVENTS),
            "CONVOY_REPOSITORY": str(ROOT),
            "CONVOY_RESULT": str(result),
            **{f"CONVOY_{name.upper()}": str(self._root / name) for name in _FOLDERS},
        }
        script = "python -m pipelines.worker; code=$?; times; exit $code"
        start, output = self._started(script, variables, "Running stage")
        events: list[dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))["events"]
        decodes, passes = (sum(int(event.get(key, 0)) for event in events) for key in ("decoded", "computed"))
        minutes, seconds, more, rest = map(float, _TIMES.findall(output)[-1])
        return Task(60 * (minutes + more) + seconds + rest, start, decodes, passes)

    def _started(self, script: str, variables: dict[str, str], line: str) -> tuple[float, str]:
        """Run a script to its end; return the seconds until it prints a line, and all that it prints."""
        start, seconds, output = time.perf_counter(), math.nan, ""
        with subprocess.Popen(
            [*self._container(variables), "sh", "-c", script],
            cwd=ROOT,
            env=environment(self._root) | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for text in process.stdout:
                output += text
                if math.isnan(seconds) and text.startswith(line):
                    seconds = time.perf_counter() - start
        if process.returncode:
            raise ConvoyError(f"{script} failed: {output[-500:]}")
        return seconds, output

    def _container(self, variables: dict[str, str]) -> list[str]:
        if not self._image:
            return []
        # A worktree's .git is a file that names the folder of the repository.
        git = subprocess.run(
            ["git", "rev-parse", "--path-format=absolute", "--git-common-dir"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        mounts = [f"{self._root}:{self._root}", f"{ROOT}:{ROOT}:ro", f"{git}:{git}:ro"]
        user = f"{os.getuid()}:{os.getgid()}"
        words = [f"--volume={mount}" for mount in mounts] + [f"--env={name}" for name in variables]
        return ["docker", "run", "--rm", f"--user={user}", *words, self._image]


def _table(new: dict[str, Task], nothing: dict[str, Task]) -> str:
    def row(name: str, task: Task, other: Task) -> tuple[str, ...]:
        share = f"{task.cpu / other.cpu:.0%}"
        return (
            *(name, f"{task.cpu:.1f}", f"{other.cpu:.1f}", share),
            *(f"{task.start:.1f}", str(task.decodes), str(task.passes)),
        )

    rows = [row(stage, task, nothing[stage]) for stage, task in new.items()]
    rows.append(row("all", _together(new), _together(nothing)))
    return markdown(_HEADER, rows)


def _together(tasks: dict[str, Task]) -> Task:
    return Task(*(sum(values) for values in zip(*tasks.values(), strict=True)))


if __name__ == "__main__":
    cli.main(measure)
