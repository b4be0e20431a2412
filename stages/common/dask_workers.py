"""An executor whose calls are made by the workers of a Dask scheduler.

Dask sends functions and data as pickles. The functions are those of modules in `stages/`, so that a pickle
holds their names and no code. The scheduler and all workers have to be trusted nevertheless, as Dask
unpickles what it receives. docs/scale_data.md says how to start them and how to encrypt the wire.

    a worker is killed               the scheduler gives its open calls to others
    a worker is stopped              likewise, after `distributed.scheduler.worker-ttl`
    one call kills 4 workers         TransientError (`distributed.scheduler.allowed-failures`)
    the scheduler ends, or stops     TransientError; what is done is in the store of image results
    there is no worker for a minute  TransientError
    a worker has other code          WorkerError; each call compares, as workers may join at any time
"""

import asyncio
import itertools
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from distributed import Client, KilledWorker, get_worker
from distributed.client import ClosedClientError
from distributed.comm import CommClosedError, connect
from distributed.security import Security

from stages.common import dask_identity, fingerprint, log
from stages.common.dask_identity import Expected
from stages.common.errors import TransientError, UsageError, WorkerError
from stages.common.executor import VARIABLE, Executor
from stages.common.log import Line

Result = TypeVar("Result")

_SECONDS_TO_CONNECT = 15.0
_SECONDS_BETWEEN_CHECKS = 5.0
_SECONDS_TO_ANSWER = 20.0
_SECONDS_WITHOUT_WORKERS = 60.0
_START_IT = "start it from this stage's commit and image"
# What a call raises whose scheduler is gone. The first two are of Dask's own tasks and of its event loop.
_LOST = (CancelledError, asyncio.CancelledError, CommClosedError, ClosedClientError)
# A worker computes one call and has the next, while the stage reads for further ones.
_CALLS_PER_WORKER_THREAD, _MIN_THREADS, _MAX_THREADS = 3, 8, 256


class Answer(NamedTuple):
    """What a worker sends back: its result and log lines, or what it has that the stage does not."""

    worker: str
    address: str
    result: Any
    lines: list[Line]
    other: Mapping[str, Any] | None


@contextmanager
def connected(
    address: str, follows_from: Callable[..., Mapping[str, object]], args: tuple[object, ...]
) -> Iterator[Executor]:
    """Connect to a scheduler for the block; see `executor.opened`."""
    if not address.startswith(("tcp://", "tls://")):
        raise UsageError(f"{VARIABLE} is {address!r}; allowed: tcp://HOST:PORT, tls://HOST:PORT")
    try:
        # Dask's client ends at once after an OSError alone; after the errors below, its end takes 30 s.
        asyncio.run(_check_connection(address))
        client = Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, CommClosedError) as error:
        raise TransientError(
            f"{VARIABLE}: no Dask scheduler answers at {address} ({_line(error)}); start one, or unset it"
        ) from None
    except (RuntimeError, TypeError, ValueError) as error:
        # Dask's own settings: certificates that are missing, a port that is no number.
        raise UsageError(f"{VARIABLE} is {address!r}: {_line(error)}") from None
    workers = _Workers(client, address, follows_from, args)
    try:
        workers.wait_for_one()
        yield workers
    finally:
        workers.close()


async def _check_connection(address: str) -> None:
    """Open a connection to a scheduler and close it; raises what Dask says of its settings."""
    arguments = Security().get_connection_args("client")
    connection = await connect(address, timeout=_SECONDS_TO_CONNECT, **arguments)
    connection.abort()


class _Workers(Executor):
    """Makes calls through a client of the scheduler."""

    ahead = 2
    images_per_call = 16

    def __init__(
        self,
        client: Client,
        address: str,
        follows_from: Callable[..., Mapping[str, object]],
        args: tuple[object, ...],
    ) -> None:
        self._client, self._address = client, address
        self._identity = dask_identity.identity(follows_from, args)
        self._expected = Expected(uuid.uuid4().hex, follows_from, args, fingerprint.digest(self._identity))
        # By worker: when it was last sent what a call needs, and a lock around that.
        self._supplied: dict[str, int] = {}
        self._supplying: dict[str, threading.Lock] = {}
        self._clock = itertools.count()
        self._problem: str | None = None
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._check_regularly, daemon=True)
        client.subscribe_topic("all", _report)

    def wait_for_one(self) -> None:
        """Wait until the scheduler has a worker."""
        try:
            self._client.wait_for_workers(1, timeout=_SECONDS_WITHOUT_WORKERS)
            threads = sum(self._client.nthreads().values())
        except (TimeoutError, OSError, CommClosedError):
            raise TransientError(
                f"the Dask scheduler at {self._address} has no worker; start one there"
            ) from None
        self.threads = min(max(_CALLS_PER_WORKER_THREAD * threads, _MIN_THREADS), _MAX_THREADS)
        log.event("connected_to_workers", scheduler=self._address, worker_threads=threads)
        self._watch.start()

    def call(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Make a call on any worker, and log the lines that it logged there."""
        result: Result = self._checked(function, args, kwargs).result
        return result

    def call_supplied(
        self, function: Callable[..., Result | None], *args: Any, supply: Callable[[], object]
    ) -> Result:
        """Make a call on any worker. One that lacks what it needs is sent that once, not by each thread."""
        while True:
            start = next(self._clock)
            answer = self._checked(function, args, {})
            address = answer.address
            if answer.result is None:
                with self._supplying.setdefault(address, threading.Lock()):
                    if self._supplied.get(address, -1) > start:
                        continue
                    answer = self._checked(function, (*args, supply()), {}, address)
                    self._supplied[answer.address] = next(self._clock)
            result: Result = answer.result
            return result

    def _checked(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        address: str | None = None,
    ) -> Answer:
        """Make a call on the worker of an address, if it lives, or on any; raises where it is no copy."""
        assert function.__module__ != "__main__", "a worker cannot import what the command line calls"
        answer = self._ask(function, args, kwargs, address)
        log.repeat(answer.lines, worker=answer.worker)
        if answer.other is not None:
            difference = dask_identity.difference(self._identity, answer.other)
            raise WorkerError(
                f"worker {answer.worker} of {self._address} is no copy of this stage: {difference}; "
                f"{_START_IT}"
            )
        return answer

    def _ask(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        address: str | None,
    ) -> Answer:
        where = {"workers": [address], "allow_other_workers": True} if address else {}
        try:
            future = self._client.submit(perform, self._expected, function, args, kwargs, pure=False, **where)
            answer: Answer = future.result()
        except KilledWorker as error:
            last = error.last_worker.address
            raise TransientError(
                f"{self._address}: workers died during the same call, the last at {last}"
            ) from None
        except _LOST:
            problem = self._problem or f"the Dask scheduler at {self._address} ended"
            raise TransientError(f"{problem}; run again: what is done is stored") from None
        except RuntimeError as error:
            if "deserialization" not in str(error):
                raise
            module = function.__module__
            raise WorkerError(
                f"the Dask scheduler at {self._address} or a worker cannot import {module}; {_START_IT}"
            ) from None
        return answer

    def close(self) -> None:
        """Leave the scheduler, which forgets open calls."""
        self._closed.set()
        with suppress(OSError, CommClosedError, TimeoutError):
            if self._client.status == "running":
                self._client.unsubscribe_topic("all")
            self._client.close(timeout=_SECONDS_BETWEEN_CHECKS)

    def _check_regularly(self) -> None:
        """End all waiting calls when the scheduler stops answering, or has no worker for a while."""
        without_workers = 0.0
        while not self._closed.wait(_SECONDS_BETWEEN_CHECKS):
            try:
                threads = self._client.sync(
                    self._client.scheduler.ncores, callback_timeout=_SECONDS_TO_ANSWER
                )
            except (TimeoutError, OSError, *_LOST):
                self._problem = f"the Dask scheduler at {self._address} does not answer any more"
                break
            without_workers = 0.0 if threads else without_workers + _SECONDS_BETWEEN_CHECKS
            if without_workers >= _SECONDS_WITHOUT_WORKERS:
                self._problem = f"the Dask scheduler at {self._address} has no worker any more"
                break
        if self._problem and not self._closed.is_set():
            # Whatever waits for an answer gets an error.
            with suppress(OSError, CommClosedError, TimeoutError):
                self._client.close(timeout=_SECONDS_BETWEEN_CHECKS)


def perform(
    expected: Expected, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Answer:
    """Make a call: this runs on a worker."""
    worker, address = str(get_worker().name), str(get_worker().address)
    own = dask_identity.own(expected)
    if fingerprint.digest(own) != expected.digest:
        return Answer(worker, address, None, [], own)
    with log.collected() as lines:
        result = function(*args, **kwargs)
    return Answer(worker, address, result, lines, None)


def _report(event: tuple[float, Mapping[str, Any]]) -> None:
    """Log workers that come and go."""
    _, facts = event
    if facts.get("action") == "remove-worker":
        log.warning("removed_worker", worker=facts["worker"], open_calls=len(facts["processing-tasks"]))
    elif facts.get("action") == "add-worker":
        log.event("added_worker", worker=facts["worker"])


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
