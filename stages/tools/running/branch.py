"""The checked-out branch, which DVC leaves while it runs an experiment.

`dvc exp run` detaches HEAD and attaches it at its end. A process that is killed leaves HEAD detached: `git
pull` then fails, and commits are on no branch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.common import git, log

_FILE = Path(".convoy/branch")
_PREFIX = "refs/heads/"


@contextmanager
def remembered() -> Iterator[None]:
    """Give HEAD its branch back where an earlier block was killed; the block may detach it."""
    if _FILE.exists():
        _attach(_FILE.read_text(encoding="utf-8"))
    if branch := git.ask("symbolic-ref", "--quiet", "HEAD"):
        _FILE.parent.mkdir(exist_ok=True)
        _FILE.write_text(branch, encoding="utf-8")
    yield
    _FILE.unlink(missing_ok=True)


def _attach(branch: str) -> None:
    """Attach HEAD, unless it is attached, or at another commit than the branch is: a person's checkout."""
    detached = not git.ask("symbolic-ref", "--quiet", "HEAD")
    commit = git.ask("rev-parse", "--verify", "--quiet", branch)
    if branch.startswith(_PREFIX) and detached and commit and commit == git.ask("rev-parse", "HEAD"):
        git.ask("symbolic-ref", "HEAD", branch)
        log.event("attached_head", branch=branch.removeprefix(_PREFIX), reason="an earlier run was killed")
