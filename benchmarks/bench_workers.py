"""Work on single images by one and by two workers of one core each, in images per second.

A Dask scheduler and two workers run on this machine, each worker on a core of its own. `extract` is
MobileNetV2's features at 224²; `decode` is what `ingest` computes of a photograph, with the resized image for
`resize`. The rows "CPU of …" have the seconds of processor time for 1,000 images in the worker, and in the
stage and the scheduler together: their quotient is the number of workers that one stage can employ.
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
import psutil

from benchmarks import bench_extract, harness, images
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

Work = Callable[[Executor], int]


def measure(settings: Settings) -> list[Row]:
    """Extraction and decoding, by one worker and by two."""
    return [
        *_measured("extract", _extraction(settings), settings),
        *_measured("decode", _decodes(settings), settings),
    ]


def _measured(name: str, work: Work, settings: Settings) -> list[Row]:
    cores = sorted(os.sched_getaffinity(0))[:2]
    with _cluster(settings.work, cores[:1]) as one_worker, _cluster(settings.work, cores) as two_workers:
        processes = [*one_worker.processes, *two_workers.processes, ("stage", psutil.Process())]
        # The first time, workers load what they need.
        count = work(one_worker.executor) and work(two_workers.executor)
        before = [_seconds(process) for _, process in processes]
        ways = {"one": partial(work, one_worker.executor), "two": partial(work, two_workers.executor)}
        rates = harness.rates(settings.repeats, ways)
        used = [_seconds(process) - earlier for (_, process), earlier in zip(processes, before, strict=True)]
    thousands = 2 * settings.repeats * count / 1000
    workers = sum(seconds for (kind, _), seconds in zip(processes, used, strict=True) if kind == "worker")
    return [
        Row(f"{name}, 2 workers of a core vs 1", "images/s", rates["two"], bound=rates["one"]),
        Row(
            f"{name}, CPU of the workers vs CPU of stage and scheduler",
            "s/1000",
            workers / thousands,
            bound=(sum(used) - workers) / thousands,
        ),
    ]


class _Cluster(NamedTuple):
    """A scheduler and its workers, the processes with what they are, and an executor that uses them."""

    executor: Executor
    processes: list[tuple[str, psutil.Process]]


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
            yield _Cluster(pool, [(kind, psutil.Process(child.pid)) for kind, child in children])
    finally:
        for _, child in children:
            child.kill()
            child.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


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
    bench_extract.packed_noise(path, shape)
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
