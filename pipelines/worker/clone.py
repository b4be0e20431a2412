"""A clone of the repository for one task: its own workspace, and the cache that all tasks share.

Stages that run at once in one workspace fail on DVC's locks (a quarter of twelve one-second stages did). In
clones around one cache they never did.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.worker import dvc_config, run_lock
from pipelines.worker.job import FailedError, Job, RefusedError
from pipelines.worker.lines import without_login
from pipelines.worker.shell import git

# Images that users bring; git does not know the folder, so a clone does not have it.
DATA = "datasets"
# What a stage's run has sent, or still has to send, to its tracking server.
RECORDS = ".tracking"


@contextmanager
def cloned(job: Job) -> Iterator[Path]:
    """Yield a clone at the job's commit with its params in place; remove it afterwards.

    Raises:
        RefusedError: There is no such commit, or the server refuses the login.
        FailedError: The repository cannot be cloned.
    """
    # No run and no stage has a ~ in its name: the clone of train@a-b is no leftover of train@a.
    prefix = f"convoy-{job.run}~{job.stage or job.action}~{job.rank}~"
    if job.work:
        job.work.mkdir(parents=True, exist_ok=True)
        for leftover in job.work.glob(f"{prefix}*"):
            # Of an earlier try that was killed: no task is tried twice at a time.
            shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=job.work, ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "clone"
        # --shared: a folder's objects are read where they are. For a URL, git ignores the word.
        git(Path.cwd(), "clone", "--quiet", "--no-checkout", "--shared", "--", job.repository, str(root))
        git(root, "checkout", "--quiet", "--detach", _commit(root, job))
        # Stages are restored from the run cache. For a stage that has not changed since a committed dvc.lock,
        # DVC looks for the outputs that the lock names, and for no others. Where another machine wrote the
        # lock, each task would compute them again, and the run would never be complete.
        (root / run_lock.LOCK).unlink(missing_ok=True)
        if job.action in ("stage", "rank", "record"):
            run_lock.restore(job, root)
        _configure(root, job)
        if job.params:
            (root / "params.yaml").write_text(job.params, encoding="utf-8")
        yield root


def overlay(root: Path, working_tree: Path) -> None:
    """Bring a clone to the state of a working tree: changed, new and deleted files, and its dvc.lock."""
    # Against the commit: `ls-files --modified` does not list what is staged.
    changed = git(working_tree, "diff", "--name-only", "--no-renames", "-z", "HEAD")
    new = git(working_tree, "ls-files", "--others", "--exclude-standard", "-z")
    names = {*filter(None, f"{changed}{new}".split("\0")), run_lock.LOCK}
    # The link to the images, where the working tree has one: .gitignore names the folder alone.
    names.discard(DATA)
    # First what goes: a file may have become a folder, or a folder a file.
    for name in names:
        target = root / name
        if not (working_tree / name).is_file() and (target.is_symlink() or target.is_file()):
            target.unlink()
        elif (working_tree / name).is_file() and target.is_dir():
            shutil.rmtree(target)
    for name in names:
        source, target = working_tree / name, root / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _commit(root: Path, job: Job) -> str:
    """The commit that the job names: a branch of the repository, or else a tag or a digest."""
    # A clone has a branch of its own for the repository's default one alone.
    for name in (f"refs/remotes/origin/{job.commit}", job.commit):
        try:
            return git(
                root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
            ).strip()
        except FailedError:
            continue
    raise RefusedError(
        f"{without_login(job.repository)} has no commit {job.commit}, nor a branch or tag of that name"
    )


def _configure(root: Path, job: Job) -> None:
    """Write where the cache is into the clone's own configuration, and link the images."""
    # DVC's files on a workspace are beside the clone, so that they are removed with it. autostage spares each
    # task the advice to add dvc.lock to git.
    core = {"site_cache_dir": str(root.parent / "site"), "autostage": "true"}
    sections = {"core": core | ({"remote": job.remote} if job.remote else {})}
    if job.cache:
        sections["cache"] = {"dir": str(job.cache)}
    dvc_config.write(root / ".dvc" / "config.local", sections)
    outside = {DATA: job.data} if job.data and not (root / DATA).exists() else {}
    if job.state and job.stage:
        # A killed worker loses its clone. Records that its server does not have yet must outlive both.
        outside[RECORDS] = job.state / "tracking" / job.run / job.stage
        outside[RECORDS].mkdir(parents=True, exist_ok=True)
    for name, folder in outside.items():
        (root / name).symlink_to(folder)
        with (root / ".git" / "info" / "exclude").open("a", encoding="utf-8") as file:
            file.write(f"/{name}\n")
