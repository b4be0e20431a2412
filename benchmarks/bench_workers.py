"""Work on single images by one and by two workers of one core each, in images per second.

Dask schedulers and workers run on this machine, each worker on a core of its own. `extract` is MobileNetV2's
features at 224²; `decode` is what `ingest` computes of a photograph, with the resized image for `resize`. The
rows "a worker's CPU vs the wire's" have seconds of processor time for 1,000 images: of the workers, and of
the stage and the scheduler when they send as many bytes to a function that does nothing.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import psutil

from benchmarks import harness, images
from benchmarks.harness import Row, Settings
from stages.common import executor as executors
from stages.common import fingerprint
from stages.common.executor import VARIABLE, Executor
from stages.data import image_results
from stages.data.sizing import View
from stages.data.store import Reader
from stages.extract import Extraction
from stages.models import extractors
from stages.models.extractors import keras_applications
from stages.models.feature_identity import follows_from

_SIDE = 224
_VIEW = View(256, 256, "rgb", True, "exact")
_IMAGES_PER_CALL = 16
_BATCH, _BATCHES = 32, 75

Work = Callable[[Executor], int]


def measure(settings: Settings) -> list[Row]:
    """Extraction and decoding, by one worker and by two."""
    return [
        *_measured("extract", _extraction(settings), _send_batches, settings),
        *_measured("decode", _decodes(settings), _send_files, settings),
    ]


def _measured(name: str, work: Work, send: Work, settings: Settings) -> list[Row]:
    cores = sorted(os.sched_getaffinity(0))[:2]
    with _cluster(settings.work, cores[:1]) as one_worker, _cluster(settings.work, cores) as two_workers:
        # The first time, workers load what they need.
        count = work(one_worker.executor) and work(two_workers.executor)
        workers = _Seconds([*one_worker.workers, *two_workers.workers])
        ways = {"one": partial(work, one_worker.executor), "two": partial(work, two_workers.executor)}
        rates = harness.rates(settings.repeats, ways)
        computed = workers.used() / (2 * settings.repeats * count)
        wire = _Seconds([two_workers.scheduler, psutil.Process()])
        sent = send(two_workers.executor)
        return [
            Row(f"{name}, 2 workers of a core vs 1", "images/s", rates["two"], bound=rates["one"]),
            Row(
                f"{name}, a worker's CPU vs the wire's",
                "s/1000",
                computed * 1000,
                bound=wire.used() / sent * 1000,
            ),
        ]


def _send_batches(pool: Executor) -> int:
    """As many bytes as batches of 224² have, to a function that does nothing."""
    batch = np.zeros((_BATCH, _SIDE, _SIDE, 3), np.uint8)
    for _ in pool.mapped(lambda _: pool.call(len, batch), range(_BATCHES)):
        pass
    return _BATCH * _BATCHES


def _send_files(pool: Executor) -> int:
    """As many bytes as JPEGs of 180 kB and resized images have."""
    shard = [(None, (b"x" * 180_000, _VIEW.height * _VIEW.width * 3))] * _IMAGES_PER_CALL
    for _ in pool.mapped(lambda _: list(pool.each(bytes.ljust, shard)), range(_BATCHES)):
        pass
    return _IMAGES_PER_CALL * _BATCHES


class _Seconds:
    """Processor time that processes use from now on."""

    def __init__(self, processes: list[psutil.Process]) -> None:
        self._processes = processes
        self._before = self._total()

    def used(self) -> float:
        """Seconds since the start."""
        return self._total() - self._before

    def _total(self) -> float:
        times = [process.cpu_times() for process in self._processes]
        return float(sum(time.user + time.system for time in times))


class _Cluster(NamedTuple):
    """An executor, and the processes that it uses."""

    executor: Executor
    scheduler: psutil.Process
    workers: list[psutil.Process]


@contextmanager
def _cluster(folder: Path, cores: list[int]) -> Iterator[_Cluster]:
    """A worker of one thread on each of some cores."""
    port = _free_port()
    address = f"tcp://127.0.0.1:{port}"
    loopback = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    dask = [sys.executable, "-m", "dask"]
    single = ["--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--local-directory", str(folder)]
    commands = [("scheduler", [*dask, "scheduler", "--port", str(port), *loopback])]
    for core in cores:
        words = ["taskset", "-c", str(core), *dask, "worker", address, *single, *loopback]
        commands.append(("worker", words))
    variables = os.environ | {"PYTHONPATH": str(fingerprint.ROOT)}
    children = []
    try:
        for kind, words in commands:
            with (folder / f"{kind}.log").open("ab") as log:
                children.append((kind, subprocess.Popen(words, env=variables, stdout=log, stderr=log)))
        _wait(address, len(cores))
        os.environ[VARIABLE] = address
        with executors.opened(dict) as pool:
            del os.environ[VARIABLE]
            scheduler, *workers = (psutil.Process(child.pid) for _, child in children)
            yield _Cluster(pool, scheduler, workers)
    finally:
        for _, child in children:
            child.kill()
            child.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(address: str, workers: int) -> None:
    from distributed import Client

    with Client(address, timeout=60, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=60)


def _extraction(settings: Settings) -> Work:
    # Random weights: the arithmetic is the same.
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(_SIDE, _SIDE, 3))
    weights = settings.work / "workers.weights.h5"
    network.save_weights(weights)
    params = keras_applications.Params(
        kind="keras_applications", backbone="MobileNetV2", weights=str(weights)
    )
    path, shape = settings.work / "workers.h5", (settings.count(256, 64), _SIDE, _SIDE, 3)
    images.packed_noise(path, shape)
    key = fingerprint.digest(follows_from(params, shape[1:]))

    def work(pool: Executor) -> int:
        run = partial(pool.call, extractors.features, key=key, params=params, shape=shape[1:])
        with Reader(path) as rows:
            Extraction(rows, run, None, pool).write(settings.work / "features.h5", {})
        return shape[0]

    return work


def _decodes(settings: Settings) -> Work:
    files = [path.read_bytes() for path in sorted(images.large(settings).rglob("*.jpg"))]
    shards = [files[start : start + _IMAGES_PER_CALL] for start in range(0, len(files), _IMAGES_PER_CALL)]
    examine = partial(image_results.examine, small=False, damaged=False, ahead=_VIEW)

    def work(pool: Executor) -> int:
        def decode(shard: list[bytes]) -> int:
            return sum(1 for _ in pool.each(examine, ((data, (data,)) for data in shard)))

        return sum(pool.mapped(decode, shards))

    return work


if __name__ == "__main__":
    harness.main(measure)
