"""A clone of the repository for one task: its own workspace, and the cache that all tasks share.

Stages that run at once in one workspace fail on DVC's locks (a quarter of twelve one-second stages did); in
clones around one cache they never have.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.worker.job import FailedError, Job, RefusedError
from pipelines.worker.shell import git

# Images that users bring; git does not know the folder, so a clone does not have it.
DATA = "datasets"
LOCK = "dvc.lock"
# What a stage's run has told, or still has to tell, its tracking server.
RECORDS = ".tracking"


@contextmanager
def cloned(job: Job) -> Iterator[Path]:
    """Yield a clone at the job's commit with its params in place; it is gone afterwards.

    Raises RefusedError when there is no such commit, FailedError when the repository cannot be cloned.
    """
    prefix = f"convoy-{job.run}-{job.stage or job.action}-"
    if job.work:
        job.work.mkdir(parents=True, exist_ok=True)
        for left in job.work.glob(f"{prefix}*"):
            # Of an earlier try that was killed: no task is tried twice at a time.
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=job.work, ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "clone"
        # --shared: a folder's objects are read where they are. For a URL, git ignores the word.
        git(Path.cwd(), "clone", "--quiet", "--no-checkout", "--shared", "--", job.repository, str(root))
        try:
            git(root, "checkout", "--quiet", "--detach", job.commit)
        except FailedError as error:
            raise RefusedError(f"{job.repository} has no commit {job.commit}: {error}") from None
        # Restored is what the run cache has. For a stage that has not changed since a committed dvc.lock, DVC
        # looks for the outputs named there alone: made on another machine, they would be made again by each
        # task that needs them, and the run would never be complete.
        (root / LOCK).unlink(missing_ok=True)
        _configure(root, job)
        if job.params:
            (root / "params.yaml").write_text(job.params, encoding="utf-8")
        yield root


def overlay(root: Path, working_tree: Path) -> None:
    """Bring a clone to the state of a working tree: changed, new and deleted files, and its dvc.lock."""
    options = ["--modified", "--deleted", "--others", "--exclude-standard"]
    listed = git(working_tree, "ls-files", "-z", *options).split("\0")
    for name in {*filter(None, listed), LOCK}:
        source, target = working_tree / name, root / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        else:
            target.unlink(missing_ok=True)


def _configure(root: Path, job: Job) -> None:
    """Say in the clone's own configuration where the cache is, and bring the images in."""
    lines = [
        "[core]",
        # DVC's notes on a workspace: beside the clone, so that they are removed with it.
        f"site_cache_dir = {root.parent / 'site'}",
        # Spares each task the advice to add dvc.lock to git.
        "autostage = true",
        *([f"remote = {job.remote}"] if job.remote else []),
        "[cache]",
        # No copies of files of many gigabytes. Linked files are read only; stages write by renaming.
        "type = reflink,hardlink,symlink,copy",
        *([f"dir = {job.cache}"] if job.cache else []),
    ]
    (root / ".dvc" / "config.local").write_text("\n".join(lines) + "\n", encoding="utf-8")
    outside = {DATA: job.data} if job.data and not (root / DATA).exists() else {}
    if job.state and job.stage:
        # A worker that is killed takes its clone along; what its server has not heard yet outlives both.
        outside[RECORDS] = job.state / "tracking" / job.run / job.stage
        outside[RECORDS].mkdir(parents=True, exist_ok=True)
    for name, folder in outside.items():
        (root / name).symlink_to(folder)
        with (root / ".git" / "info" / "exclude").open("a", encoding="utf-8") as file:
            file.write(f"/{name}\n")
