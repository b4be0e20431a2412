"""The store of image results beside stores that others keep: rows written, and read in random order.

Rows are as large as what `resize` (256x256 RGB) and `ingest` store of an image. Nothing is forced to disk.
"""

import hashlib
import sqlite3
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks import harness
from benchmarks.harness import Row, Settings
from stages.data import results_store

_SIZES = {"196 kB": 256 * 256 * 3, "64 B": 64}
_ROWS = 4_000

Put: TypeAlias = Callable[[str, bytes], object]
Get: TypeAlias = Callable[[str], object]


def measure(settings: Settings) -> list[Row]:
    """Write and read with each store, in turn."""
    return [row for name, size in _SIZES.items() for row in _compared(settings, name, size)]


def _compared(settings: Settings, name: str, size: int) -> list[Row]:
    stores = _stores()
    value = np.random.default_rng(1).bytes(size)
    keys = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(settings.count(_ROWS, least=8))]
    rates: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(settings.repeats):
        for store, opened in stores.items():
            ways = _ways(opened, settings.work / f"{store}-{size}-{number}", keys, value)
            for way, rate in harness.rates(1, ways).items():
                rates[f"{store} {way}"].append(rate)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return [
        Row(
            f"results of {name}, {way}, vs {store}",
            "1/s",
            medians[f"ours {way}"],
            bound=medians[f"{store} {way}"],
        )
        for way in ("write", "read")
        for store in stores
        if store != "ours"
    ]


def _ways(opened: Any, place: Path, keys: list[str], value: bytes) -> harness.Ways:
    def write() -> int:
        with opened(place) as (put, _):
            for key in keys:
                put(key, value)
        return len(keys)

    def read() -> int:
        with opened(place) as (_, get):
            for key in sorted(keys):
                get(key)
        return len(keys)

    return {"write": write, "read": read}


def _stores() -> dict[str, Any]:
    stores: dict[str, Any] = {"ours": _ours, "diskcache": _diskcache, "SQLite": _sqlite}
    try:
        import lmdb  # noqa: F401
    except ModuleNotFoundError:
        return stores
    return stores | {"LMDB": _lmdb}


@contextmanager
def _ours(folder: Path) -> Iterator[tuple[Put, Get]]:
    results = results_store.Results(folder)
    yield lambda key, value: results.add(key, np.frombuffer(value, np.uint8)), results.get
    results.close()


@contextmanager
def _diskcache(folder: Path) -> Iterator[tuple[Put, Get]]:
    import diskcache

    with diskcache.Cache(folder, size_limit=2**40) as cache:
        yield cache.set, cache.get


@contextmanager
def _sqlite(folder: Path) -> Iterator[tuple[Put, Get]]:
    connection = sqlite3.connect(f"{folder}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value BLOB)")

    def get(key: str) -> object:
        return connection.execute("SELECT value FROM results WHERE key = ?", (key,)).fetchone()

    yield lambda key, value: connection.execute("INSERT INTO results VALUES (?, ?)", (key, value)), get
    connection.close()


@contextmanager
def _lmdb(folder: Path) -> Iterator[tuple[Put, Get]]:
    import lmdb

    with lmdb.open(str(folder), map_size=2**34, sync=False) as environment:

        def put(key: str, value: bytes) -> object:
            with environment.begin(write=True) as transaction:
                return transaction.put(key.encode(), value)

        def get(key: str) -> object:
            with environment.begin() as transaction:
                return transaction.get(key.encode())

        yield put, get


if __name__ == "__main__":
    harness.main(measure)
