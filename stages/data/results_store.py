"""Results of single images, stored by content, so that no run and no clone computes one of them again.

A result is a row of bytes of fixed length. Its key is the SHA-256 of what it was computed from. Its folder is
named after what was computed and after everything else that decides it: params, code, versions.

The store is a folder of immutable HDF5 files (`store.py`), each with up to 64 MB of rows. A writer collects
new rows and renames a finished file into place. So several writers need no lock, also on network file
systems, where locks often do not work and a rename does. A killed writer leaves at most a file that no reader
opens. A full disk costs the results and not the stage. Every row carries its key and a checksum: a damaged
row is computed again, and its file is removed. What two writers compute at once is stored twice and means the
same.

Rejected after `python -m benchmarks.bench_results`: diskcache, SQLite in WAL mode and LMDB, which all need
locks and memory shared by all users of a file, so that none of them is safe on network file systems. This
store writes rows of 196 kB 1.5 to 4 times as fast as each of them, and reads them as fast as diskcache, 3
times as fast as SQLite and half as fast as LMDB. diskcache also unpickles what it reads, and LMDB maps a file
of a fixed size.
"""

import os
import threading
import time
import uuid
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common import fingerprint, log
from stages.common.errors import StoreError, UsageError
from stages.data import store

# The folder, and how many bytes it may hold.
FOLDER_VARIABLE, LIMIT_VARIABLE = "CONVOY_IMAGE_RESULTS", "CONVOY_IMAGE_RESULTS_LIMIT"
_DEFAULT_FOLDER, _DEFAULT_LIMIT = Path(".convoy/image_results"), 16 * 2**30

# Of a key, and of the part of it that a file's ids hold.
_KEY_BYTES, _ID_BYTES = 32, 8
# Of a file. At 16 GiB a run opens 256 of them; each writer holds one in memory.
_FILE_BYTES = 64 * 2**20
# Bytes. Files of such rows are read as a whole: a call for each row would cost more than its bytes.
_SMALL_ROW = 1024
# So many files below half the size are merged: every run leaves one, whatever little it adds.
_SMALL_FILES = 16
_SECONDS_UNTIL_ABANDONED = 24 * 3600
# A hundred bytes of these spare a read and a decode; pixels take a thousand times as many. So they stay as if
# they had been used a month later, and not for ever: each change of code leaves some that nobody will use.
_KEPT_LONGER, _SECONDS_LONGER = ("digests", "facts"), 30 * 24 * 3600

Bytes = NDArray[np.uint8]


def folder() -> Path:
    """The folder of all stored results: CONVOY_IMAGE_RESULTS, which tasks share, or the workspace's own."""
    return Path(os.environ.get(FOLDER_VARIABLE) or _DEFAULT_FOLDER)


def limit() -> int:
    """How many bytes the store may hold. Raises UsageError where the variable is no number."""
    text = os.environ.get(LIMIT_VARIABLE) or str(_DEFAULT_LIMIT)
    if not text.isdecimal():
        raise UsageError(f"{LIMIT_VARIABLE} is {text!r}; must be a number of bytes, such as {_DEFAULT_LIMIT}")
    return int(text)


@contextmanager
def opened(kind: str, follows_from: Mapping[str, object]) -> "Iterator[Results]":
    """Open the results of one kind; what was added is stored when the block ends, also by an error.

    Args:
        kind: What is computed: `facts`, `resized`.
        follows_from: All that decides a result besides the content that its key names.

    Yields:
        The results, which threads may share.

    Raises:
        UsageError: The store's limit is no number; now, and not after hours of work.
    """
    limit()
    results = Results(folder() / f"{kind}-{fingerprint.digest(kind, follows_from)[:16]}")
    try:
        yield results
    finally:
        results.close()


class Results:
    """The stored results of one kind.

    Attributes:
        reused: How many results were found.
        added: How many were added.
    """

    def __init__(self, place: Path) -> None:
        self.reused, self.added = 0, 0
        self._folder = place
        self._lock = threading.Lock()
        self._new: dict[str, Bytes] = {}
        self._writable = True
        self._files = [file for path in sorted(place.glob("*.h5")) if (file := _open(path))]
        self._used: set[int] = set()
        # Numbers of files that were removed, so that a damaged one is not read again for each of its rows.
        self._removed: set[int] = set()
        # Number of a file → its rows, where they are small.
        self._in_memory: dict[int, Bytes] = {}
        # The first of equal keys counts: bisect_left finds it. In arrays of numbers `get` takes 3
        # microseconds, with searchsorted in an array of strings 8. A dict would take 150 bytes per key.
        keys = np.concatenate([np.empty(0, np.uint64), *(_key_numbers(file) for file in self._files)])
        order = np.argsort(keys, kind="stable")
        self._sorted, self._order = array("Q", keys[order].tobytes()), array("q", order.tobytes())
        self._starts = [0, *accumulate(len(file) for file in self._files)]

    def get(self, key: str) -> Bytes | None:
        """The result for a SHA-256 (hex), or None where there is none or it is damaged."""
        digest = bytes.fromhex(key)
        wanted = int.from_bytes(digest[:_ID_BYTES], "big")
        at = bisect_left(self._sorted, wanted)
        if at == len(self._sorted) or self._sorted[at] != wanted:
            return None
        place = self._order[at]
        number = bisect_right(self._starts, place) - 1
        row = self._read(number, place - self._starts[number])
        if row is None or row[:_KEY_BYTES].tobytes() != digest:
            return None
        with self._lock:
            self.reused += 1
            self._used.add(number)
        return row[_KEY_BYTES:]

    def add(self, key: str, *parts: NDArray[Any]) -> None:
        """Store the bytes of some arrays, as many for every key, under a SHA-256 (hex)."""
        row = np.concatenate(
            [np.frombuffer(bytes.fromhex(key), np.uint8), *(_as_bytes(part) for part in parts)]
        )
        full: dict[str, Bytes] = {}
        with self._lock:
            self.added += 1
            self._new[key] = row
            if len(self._new) * len(row) >= _FILE_BYTES:
                full, self._new = self._new, {}
        if full:
            self._write(full)

    def close(self) -> None:
        """Store what was added, mark what was used, and keep the store within its limit."""
        new, self._new = self._new, {}
        if new:
            self._write(new)
        for number in self._used:
            with suppress(OSError):
                os.utime(self._files[number].path)
        self._merge_small_files()
        for file in self._files:
            file.close()
        if self.added:
            evict(limit())

    def _read(self, number: int, row: int) -> Bytes | None:
        file = self._files[number]
        if number in self._removed:
            return None
        try:
            if (rows := self._in_memory.get(number)) is not None:
                in_memory: Bytes = rows[row]
                return in_memory
            if file.shape[1] <= _SMALL_ROW:
                self._in_memory[number] = file.read(0, len(file))
            read: Bytes = file.read(row, row + 1)[0]
        except (StoreError, OSError):
            self._removed.add(number)
            log.warning("removed_damaged_results", path=file.path)
            with suppress(OSError):
                file.path.unlink(missing_ok=True)
            return None
        return read

    def _write(self, rows: Mapping[str, Bytes]) -> None:
        if not self._writable:
            return
        path = self._folder / f"{uuid.uuid4().hex}.h5"
        try:
            _write_file(path, list(rows.values()))
        except OSError as error:
            self._writable = False
            log.warning("stopped_storing_results", folder=self._folder, because=error.strerror or error)

    def _merge_small_files(self) -> None:
        """Write the rows of many small files into one; other readers keep what they have open."""
        small = [file for file in self._files if file.path.exists() and _bytes(file) < _FILE_BYTES // 2]
        if len(small) < _SMALL_FILES or not self._writable:
            return
        small.sort(key=_bytes)
        while sum(map(_bytes, small)) > _FILE_BYTES:
            small.pop()
        try:
            rows = [row for file in small for row in file.read(0, len(file))]
            _write_file(self._folder / f"{uuid.uuid4().hex}.h5", rows)
        except (StoreError, OSError):
            return
        for file in small:
            # In a folder that others share, only the owner of a file may be allowed to remove it.
            with suppress(OSError):
                file.path.unlink(missing_ok=True)


def held() -> dict[str, tuple[int, int]]:
    """Kind → number of files and of bytes that the store holds."""
    sizes: dict[str, tuple[int, int]] = {}
    for path in folder().rglob("*.h5"):
        with suppress(OSError):
            files, total = sizes.get(_kind(path), (0, 0))
            sizes[_kind(path)] = files + 1, total + path.stat().st_size
    return sizes


def evict(most: int) -> None:
    """Remove the files that were used least recently until the store holds at most `most` bytes.

    Digests and facts stay a month longer: a stage reads them first, so they always are the older ones.
    """
    files = []
    for path in folder().rglob("*"):
        with suppress(OSError):
            facts = path.stat()
            if path.suffix == ".h5":
                longer = _SECONDS_LONGER if _kind(path) in _KEPT_LONGER else 0
                files.append((facts.st_mtime + longer, facts.st_size, path))
            elif path.suffix == ".part" and time.time() - facts.st_mtime > _SECONDS_UNTIL_ABANDONED:
                path.unlink()
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= most:
            break
        with suppress(OSError):
            path.unlink(missing_ok=True)
        total -= size


def unused(since: float) -> list[Path]:
    """The files that no run has used since this time, in seconds since the epoch."""
    files = []
    for path in folder().rglob("*.h5"):
        with suppress(OSError):
            if path.stat().st_mtime < since:
                files.append(path)
    return files


def _kind(path: Path) -> str:
    return path.parent.name.rpartition("-")[0]


def _open(path: Path) -> store.Reader | None:
    """None where another process has removed the file, or it is damaged."""
    try:
        return store.Reader(path)
    except (StoreError, OSError):
        return None


def _write_file(path: Path, rows: Sequence[Bytes]) -> None:
    ids = [row[:_ID_BYTES].tobytes().hex() for row in rows]
    shape = (len(rows), len(rows[0]))
    with store.create(path, "results", shape, np.uint8, ids=ids, provenance={}) as out:
        for number, row in enumerate(rows):
            out.write(number, row[None])


def _key_numbers(file: store.Reader) -> NDArray[np.uint64]:
    """The first bytes of each row's key, as a number."""
    digits = "".join(file.ids.tolist())
    return np.frombuffer(bytes.fromhex(digits), f">u{_ID_BYTES}").astype(np.uint64)


def _bytes(file: store.Reader) -> int:
    return file.shape[0] * file.shape[1]


def _as_bytes(values: NDArray[Any]) -> Bytes:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
