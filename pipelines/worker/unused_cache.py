"""DVC's cache: which objects are needed, and `dvc gc` for the others.

DVC's own choices (`dvc gc --all-commits`, `--date`) do not suffice: DVC reads the whole graph of each commit,
and knows nothing of results that no commit names yet, such as those of a run that is going on. So the needed
objects are listed here and given to `dvc gc` as the data of a workspace.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.worker import complete_runs, dvc, dvc_config, run_lock
from pipelines.worker.job import FailedError, Job
from pipelines.worker.shell import git

# What names objects of the cache, in a commit and in a working tree.
_FILES = ("*.dvc", "dvc.lock", "*/dvc.lock")
_RUNS = "runs"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Needed:
    """The objects that stay.

    Attributes:
        outputs: Digest and kind of digest of each output, as DVC writes them.
        says: What names these outputs, in words.
    """

    outputs: set[tuple[str, str]]
    says: str


def needed(job: Job, root: Path, cache: Path, before: float) -> Needed:
    """Collect the outputs that are named: by git, by the working tree, by a recent plan, run or result.

    Args:
        job: The task.
        root: A clone of its repository.
        cache: The cache.
        before: Seconds since the epoch: older experiments, plans, complete runs and results of stages count
            for nothing.

    Returns:
        The outputs.

    Raises:
        FailedError: A file of the working tree cannot be read; nobody knows what it names.
    """
    git(root, "fetch", "--quiet", "origin", "+refs/exps/*:refs/exps/*")
    commits = git(root, "rev-list", "--full-history", "--remotes", "--tags", "HEAD", "--", *_FILES).split()
    experiments = _experiments(root, before)
    recent = [*_recent(cache, f"{_RUNS}/??/*/*", before)]
    locks = job.state and job.state / run_lock.FOLDER
    plans = [*_recent(locks, f"*/{run_lock.PLAN}.lock", before)] if locks else []
    tasks = [*_recent(locks, "*/[!~]*.lock", before)] if locks else []
    complete = complete_runs.recent(job.state, before) if job.state else []
    outputs = set(_written(working_tree(job)))
    # DVC's own files of these runs may be older: a plan that finds a complete run does not start DVC.
    outputs.update((digest, "md5") for run in complete for digest in run.outputs)
    for text in (*_committed(root, [*commits, *experiments]), *plans, *tasks, *recent):
        # One that DVC cannot read names nothing that DVC could restore.
        with suppress(ValueError):
            outputs.update(_outputs(text))
    says = (
        "all commits of branches and tags, the working tree, "
        f"{sum(experiments.values())} experiments, {len(plans)} plans, {len(complete)} complete runs and "
        f"{len(recent)} results of stages of the last {job.days} days"
    )
    return Needed({output for output in outputs if _place(cache, *output).exists()}, says)


def unused(folder: Path, cache: Path, keep: Needed) -> list[Path]:
    """List the objects that `dvc gc` would remove.

    Args:
        folder: A new folder, which becomes the workspace of `dvc gc`.
        cache: The cache.
        keep: The needed objects.
    """
    _write_workspace(folder, cache, keep)
    lines = dvc.ask(folder, "gc", "--workspace", "--dry").splitlines()
    return [Path(line.removeprefix("Removing ")) for line in lines if line.startswith("Removing ")]


def remove(folder: Path) -> None:
    """Remove them; `folder` is that of `unused`."""
    dvc.ask(folder, "gc", "--workspace", "--force")


def working_tree(job: Job) -> Path | None:
    """The repository where that is a folder. In a container of a stage it holds `.git` alone."""
    return Path(job.repository) if Path(job.repository).is_dir() else None


def _experiments(root: Path, before: float) -> dict[str, bool]:
    """The commits of DVC's experiments that are not older, and whether a person sees them in a list."""
    form = "--format=%(objectname) %(committerdate:unix) %(refname)"
    commits: dict[str, bool] = {}
    for line in git(root, "for-each-ref", form, "refs/exps").splitlines():
        commit, when, name = line.split(" ", 2)
        if float(when) >= before:
            # refs/exps/BASELINE/NAME with the baseline's digest cut in two; DVC has other references beside.
            commits[commit] = commits.get(commit, False) or name.count("/") == 4
    return commits


def _committed(root: Path, commits: list[str]) -> Iterator[str]:
    """The files of commits that name objects, each content once."""
    blobs = set()
    for commit in commits:
        for entry in git(root, "ls-tree", "-r", "-z", commit).split("\0"):
            about, _, path = entry.partition("\t")
            if path.endswith(".dvc") or path.rpartition("/")[2] == "dvc.lock":
                blobs.add(about.split()[2])
    for blob in sorted(blobs):
        yield git(root, "cat-file", "blob", blob)


def _written(folder: Path | None) -> Iterator[tuple[str, str]]:
    """What the same files of a working tree name, whether git knows them or not."""
    if folder is None:
        return
    try:
        names = git(folder, "ls-files", "-z", "--cached", "--others", "--", *_FILES).split("\0")
    except FailedError:
        # A bare repository.
        return
    for name in filter(None, names):
        path = folder / name
        if path.is_file():
            try:
                yield from _outputs(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise FailedError(f"{path} is no file of DVC ({error}): the cache stays as it is") from None


def _recent(folder: Path, pattern: str, before: float) -> Iterator[str]:
    """The texts of files that are not older. Of DVC's run cache, each names a stage's inputs and outputs."""
    for path in folder.glob(pattern):
        try:
            if path.stat().st_mtime >= before:
                yield path.read_text(encoding="utf-8")
        except OSError:
            continue


def _outputs(text: str) -> Iterator[tuple[str, str]]:
    """Digest and kind of the outputs that a .dvc file, a dvc.lock or an entry of the run cache names.

    Raises:
        ValueError: It is none of these.
    """
    try:
        values: Any = yaml.load(text, _LOADER) or {}  # noqa: S506  (a safe loader)
        bodies = [values, *(values.get("stages") or {}).values()]
        outs = [out for body in bodies for out in body.get("outs") or []]
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        raise ValueError(" ".join(str(error).split())[:200]) from None
    for out in outs:
        if isinstance(out, dict) and isinstance(out.get("md5"), str):
            yield out["md5"], str(out.get("hash", ""))


def _place(cache: Path, digest: str, kind: str) -> Path:
    """The file of an object; DVC before 3.0 named no kind and had another place."""
    above = cache / "files" / "md5" if kind else cache
    return above / digest[:2] / digest[2:]


def _write_workspace(folder: Path, cache: Path, keep: Needed) -> None:
    (folder / ".dvc").mkdir(parents=True)
    core = {"no_scm": "true", "analytics": "false", "site_cache_dir": str(folder / "site")}
    dvc_config.write(folder / ".dvc" / "config", {"core": core, "cache": {"dir": str(cache)}})
    outs = [
        {"path": f"output{number}", "md5": digest} | ({"hash": kind} if kind else {})
        for number, (digest, kind) in enumerate(sorted(keep.outputs))
    ]
    (folder / "needed.dvc").write_text(json.dumps({"outs": outs}), encoding="utf-8")
