"""DVC's own locks of a working tree: whether a command of it runs, and none starts meanwhile.

A command of DVC holds `.dvc/tmp/lock`, except while a stage runs: then `.dvc/tmp/rwlock` names its process. A
temporary workspace of `dvc exp run --temp` has both of its own.
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

from pipelines.worker import locks


@contextmanager
def idle(tree: Path | None, *, held: bool) -> Iterator[bool]:
    """Yield whether no command of DVC runs in a working tree.

    Args:
        tree: The working tree; DVC never runs in None, nor in a folder without `.dvc`.
        held: Whether it stays so, by the same locks. A command that starts meanwhile waits three seconds and
            fails.
    """
    folders = _temporary_folders(tree) if tree and (tree / ".dvc").is_dir() else []
    with ExitStack() as stack:
        free = [stack.enter_context(locks.alone(folder / "lock")) for folder in folders if held]
        yield all(free) and not any(_runs_stage(folder / "rwlock") for folder in folders)


def _temporary_folders(tree: Path) -> list[Path]:
    temporary = tree / ".dvc" / "tmp"
    return [temporary, *temporary.glob("exps/*/*/.dvc/tmp")]


def _runs_stage(rwlock: Path) -> bool:
    try:
        kinds = json.loads(rwlock.read_text(encoding="utf-8"))
        # Of each path, one process that writes it, or several that read it.
        holders = [*kinds.get("write", {}).values(), *chain(*kinds.get("read", {}).values())]
        pids = [holder["pid"] for holder in holders]
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return False
    return any(_is_alive(pid) for pid in pids)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
