"""Writing that is either complete or not there: aside first, then one rename."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write a file or folder under; it takes the place of `path` on success.

    A killed process leaves `path` as it was. A half-written file of an earlier attempt is removed first.
    """
    aside = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(aside)
    try:
        yield aside
    except BaseException:
        remove(aside)
        raise
    if aside.is_dir():
        # rename(2) refuses to replace a folder that is not empty.
        remove(path)
    aside.replace(path)


def remove(path: Path) -> None:
    """Remove a file or folder if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that a person can read, whole or not at all."""
    with replace_atomically(path) as aside:
        aside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises FileNotFoundError and json.JSONDecodeError."""
    return json.loads(path.read_text(encoding="utf-8"))


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
