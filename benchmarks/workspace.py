"""A clone of the committed code with DVC in it, and what a run there costs."""

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml

from stages.common import events
from stages.common.errors import ConvoyError
from stages.data import results_store

ROOT = Path(__file__).parents[1]
_EXTRACTOR = "measured"


class Cost(NamedTuple):
    """What a run took: seconds, CPU seconds, images decoded, images through the extractor."""

    seconds: float
    cpu: float
    decodes: int
    passes: int


@dataclass(frozen=True)
class Workspace:
    """A clone with its own DVC cache and store of image results, whose source is the folder `images`."""

    root: Path
    environment: Mapping[str, str]

    @classmethod
    def create(cls, root: Path, extractor: Mapping[str, Any], size: int) -> Self:
        """Clone the repository's last commit.

        Args:
            root: The folder to create.
            extractor: A section of `extractors`.
            size: Height and width of the resized images.
        """
        clone(root)
        (root / "params.yaml").write_text(params_text(extractor, "images", size), encoding="utf-8")
        return cls(root, environment(root))

    def add(self, source: Path, files: Sequence[Path]) -> None:
        """Copy files of a folder into the source."""
        for path in files:
            copy = self.root / "images" / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)

    def reproduce(self) -> Cost:
        """Run `dvc repro` from ingest to extract.

        Raises:
            ConvoyError: A stage failed.
        """
        reader = events.Reader(self.root / ".convoy" / "events")
        reader.read()
        command = ["dvc", "repro", "-q", "audit", f"extract@{_EXTRACTOR}"]
        seconds, cpu = timed(command, self.root, self.environment)
        fields = [record["fields"] for record in reader.read() if record["kind"] == "event"]
        decodes, passes = (sum(int(each.get(key, 0)) for each in fields) for key in ("decoded", "computed"))
        return Cost(seconds, cpu, decodes, passes)


def params_text(extractor: Mapping[str, Any], source: str, size: int) -> str:
    """The project's own params with the extractor `measured`, for images of a folder; as YAML.

    Args:
        extractor: A section of `extractors`.
        source: The folder, seen from the workspace.
        size: Height and width of the resized images.
    """
    values: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    # Files that are no images are left out, however many.
    values["ingest"].update(source={"kind": "folder", "path": source}, max_reject_fraction=1.0)
    values["resize"].update(size=[size, size], keep_aspect=True, color="rgb", quality="exact")
    values["extractors"][_EXTRACTOR] = dict(extractor)
    return yaml.safe_dump(values)


def clone(root: Path, commit: str = "HEAD") -> None:
    """Clone the repository's commit; what DVC knows of files by their inodes belongs to the clone, too."""
    subprocess.run(["git", "clone", "-q", ROOT, root], check=True)
    resolved = subprocess.run(
        ["git", "rev-parse", commit], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run(["git", "checkout", "-q", resolved], cwd=root, check=True)
    (root / ".dvc" / "config.local").write_text(f"[core]\nsite_cache_dir = {root}/.dvc/site\n")


def environment(root: Path) -> dict[str, str]:
    """The variables of a run in a clone: this Python, and no services or folders of anything else."""
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("CONVOY_", "MLFLOW_"))
    }
    return inherited | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        events.VARIABLE: str(root / ".convoy" / "events"),
        results_store.FOLDER_VARIABLE: str(root / ".convoy" / "image_results"),
    }


def timed(command: Sequence[str], root: Path, variables: Mapping[str, str]) -> tuple[float, float]:
    """Run a command in a folder; return its seconds, and the CPU seconds of all that it started.

    Raises:
        ConvoyError: The command failed.
    """
    os.sync()
    start, cpu = time.perf_counter(), _cpu_of_children()
    run = subprocess.run(
        command,
        cwd=root,
        env=variables,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    seconds, cpu = time.perf_counter() - start, _cpu_of_children() - cpu
    if run.returncode:
        raise ConvoyError(f"{' '.join(command)} failed: {run.stderr.strip().splitlines()[-1:]}")
    return seconds, cpu


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
