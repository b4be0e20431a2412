"""Where the work on single images is done: by this process, or by workers that a Dask scheduler knows.

A stage maps over shards of its images in threads, as `parallel.mapped` has it. What costs time, a decode or
a forward pass, it hands to an executor: a module-level function and plain data. In this process that is a
call. With CONVOY_DASK=tcp://HOST:PORT a worker makes the call (dask_workers.py), and the thread waits. The
stage itself reads the sources and the store of image results, and writes both its outputs and the store. So a
worker needs neither the source nor the store, and the outputs are the same to the byte.

Rejected: each worker reads the source and writes a part of the output. Every worker then needs the stage's
folders under the same path, an index has to join the parts, and a dead worker's part has to be removed. The
price of this design is that all images pass through the stage's machine: docs/scale_data.md.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from stages.common import parallel
from stages.common.errors import ImageError, UsageError

VARIABLE = "CONVOY_DASK"

Item = TypeVar("Item")
Subject = TypeVar("Subject")
Result = TypeVar("Result")

# Of one call by a worker, which costs a millisecond beside the work.
_IMAGES_PER_CALL, _BYTES_PER_CALL = 16, 2**23


class Executor:
    """Makes calls in the thread that asks for them. Threads may share it."""

    # Threads that should ask at once, None: one per core; results per thread that may wait to be taken.
    threads: int | None = None
    ahead = parallel.AHEAD_PER_WORKER
    images_per_call = 1

    def call(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Return the function's result for plain data. It is a function of a module in `stages/`."""
        return function(*args, **kwargs)

    def call_supplied(
        self, function: Callable[..., Result | None], *args: Any, supply: Callable[[], object]
    ) -> Result:
        """Make a call that needs something large, which a process that lacks it is given.

        Args:
            function: As in `call`. It returns None where its process lacks what it needs.
            *args: Its arguments.
            supply: Gives its further argument: what it needs.
        """
        result = self.call(function, *args)
        if result is None:
            result = self.call(function, *args, supply())
        assert result is not None
        return result

    def mapped(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        ahead: int | None = None,
        size: Callable[[Item], int] = lambda _: 0,
    ) -> Iterator[Result]:
        """Apply a function that makes calls to a stream of items, in threads; see `parallel.mapped`."""
        return parallel.mapped(function, items, self.threads, min(ahead or self.ahead, self.ahead), size)

    def each(
        self, function: Callable[..., Result], subjects: Iterable[tuple[Subject, Sequence[Any] | None]]
    ) -> Iterator[tuple[Subject, Result | ImageError | None]]:
        """Call a function for each image that needs it; a worker is sent several images at once.

        Args:
            function: As in `call`, or a `partial` of one. An ImageError of it becomes the image's result.
            subjects: What the caller knows an image by, and the arguments of the call, the first of which are
                the image's bytes; None where no call is needed. A stream, read a little ahead of the results.

        Yields:
            Each subject with its result, in order.
        """
        group: list[tuple[Subject, Sequence[Any] | None]] = []
        size = calls = 0
        for subject, args in subjects:
            group.append((subject, args))
            if args is not None:
                calls, size = calls + 1, size + len(args[0])
            if calls >= self.images_per_call or size >= _BYTES_PER_CALL:
                yield from self._answered(function, group)
                group, size, calls = [], 0, 0
        yield from self._answered(function, group)

    def _answered(
        self, function: Callable[..., Result], group: Sequence[tuple[Subject, Sequence[Any] | None]]
    ) -> Iterator[tuple[Subject, Result | ImageError | None]]:
        needed = [args for _, args in group if args is not None]
        results = iter(self.call(call_each, function, needed) if needed else ())
        for subject, args in group:
            yield subject, None if args is None else next(results)


# This process, where nothing else is said.
LOCAL = Executor()


def call_each(function: Callable[..., Result], calls: Iterable[Sequence[Any]]) -> list[Result | ImageError]:
    """The function's result for each list of arguments; an ImageError is a result."""
    results: list[Result | ImageError] = []
    for args in calls:
        try:
            results.append(function(*args))
        except ImageError as error:
            results.append(error)
    return results


@contextmanager
def opened(follows_from: Callable[..., Mapping[str, object]], *args: object) -> Iterator[Executor]:
    """Open the executor that CONVOY_DASK names, or this process's own.

    Args:
        follows_from: A module-level function that gives the code, versions and settings which decide a
            result. A worker where it gives something else than here is refused.
        *args: Its arguments.

    Raises:
        UsageError: CONVOY_DASK is no address, or Dask is not installed.
        TransientError: No scheduler answers there.
    """
    address = os.environ.get(VARIABLE)
    if not address:
        yield Executor()
        return
    try:
        # An optional package, whose import takes a second.
        from stages.common import dask_workers
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{VARIABLE} is set, and {error.name} is not installed; install distributed"
        ) from None
    with dask_workers.connected(address, follows_from, args) as workers:
        yield workers
