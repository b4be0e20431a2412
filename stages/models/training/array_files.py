"""The files of all checkpoints: numbered arrays under names, and a JSON value beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common.files import replace_atomically

Arrays = list[NDArray[Any]]

_VALUE = "json"


def write(path: Path, value: Any = None, **arrays: Arrays) -> None:
    """Write a file; the file before it stays valid until this one is complete.

    Args:
        path: where.
        value: anything that JSON can hold.
        arrays: name → arrays.
    """
    named = {
        f"{name}_{number}": array
        for name, numbered in arrays.items()
        for number, array in enumerate(numbered)
    }
    named[_VALUE] = np.array(json.dumps(value))
    with replace_atomically(path) as aside, aside.open("wb") as file:
        np.savez(file, allow_pickle=False, **named)


def read(path: Path, *names: str) -> tuple[Any, list[Arrays]]:
    """Read what `write` wrote: the value, and the arrays of each of these names.

    Raises:
        OSError, ValueError, KeyError, …: the file is damaged or something else; UNREADABLE of
            stages/common/errors.py lists the types.
    """
    with np.load(path, allow_pickle=False) as file:
        counts = [sum(key.rpartition("_")[0] == name for key in file.files) for name in names]
        arrays = [
            [file[f"{name}_{number}"] for number in range(count)]
            for name, count in zip(names, counts, strict=True)
        ]
        return json.loads(str(file[_VALUE])), arrays
