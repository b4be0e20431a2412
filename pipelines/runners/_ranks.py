"""A work in several containers or pods: the ranks of one training.

Each rank is a work of its own, with Keras' variables in its environment. Rank 0 is the stage as without
ranks; its address is known when it runs, so the others start then. They save nothing
(`pipelines/worker/rank.py`).

Rejected: an Indexed Job and a headless Service of Kubernetes. Airflow would need rights for both kinds beside
those for pods, the Job would restart pods where Airflow retries the task, and containers would need a second
way. docs/scale.md says what an Indexed Job needs by hand.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from pipelines.runners import Runner, Work
from pipelines.runners._rank import Result, judge, own_address, work_of

log = logging.getLogger(__name__)
# What the other ranks have to end by themselves when one has ended; as stages/common/launcher.py has it.
PATIENCE_SECONDS = 10.0
# A stage gets ten seconds after SIGTERM, its worker a little more; then the runner has removed it.
_SECONDS_TO_STOP = 60.0
# A signal that the kernel gives to another thread is handled at the main thread's next look.
_SECONDS_BETWEEN_LOOKS = 1.0


def ignore_address(_: str) -> None:
    """What a runner calls with the address of a work that is no rank 0."""


@dataclass(frozen=True)
class _Event:
    """Something that a thread or a signal handler reports: rank 0's address, a rank's end, or `cancelled`."""

    rank: int = 0
    address: str = ""
    result: Result | None = None
    cancelled: bool = False


class Ranks:
    """Runs a work by as many runners as its settings have nodes; one node is its runner's work alone.

    When a rank has ended with an error, or rank 0 has ended at all, the others have ten seconds to end by
    themselves; then they are cancelled, as each would wait for the missing one.

    Args:
        create: Makes a runner of one work, which calls the function it gets with its address when it runs,
            perhaps more than once.
        shares_host: Whether all ranks have the host's network: one port there has to be free.
        patience: Seconds that the others have.
    """

    def __init__(
        self,
        create: Callable[[Callable[[str], None]], Runner],
        *,
        shares_host: bool = False,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._create, self._shares_host, self._patience = create, shares_host, patience
        # Rank 0, or the one runner there is.
        self._first = create(lambda address: self._events.put(_Event(address=address)))
        self._runners = {0: self._first}
        self._several = False
        self._threads: list[Thread] = []
        # In the order in which the ranks ended.
        self._results: dict[int, Result] = {}
        self._ending = False
        # Its `put` is safe in a signal handler, those of locks and events are not.
        self._events: SimpleQueue[_Event] = SimpleQueue()

    def run(self, work: Work, context: Any) -> Result | None:
        """Run all ranks to their end; see `Runner.run`.

        Returns:
            The result of rank 0 where it has saved the stage's outputs; otherwise that of the rank whose end
            is the cause.
        """
        if work.settings.nodes == 1:
            return self._first.run(work, context)
        self._several = True
        host, port = own_address(shares_host=self._shares_host)
        try:
            self._start(self._first, 0, work_of(0, work, f"{host}:{port}"), context)
            self._to_their_end(work, port, context)
        finally:
            # Airflow raises its timeout of a task in this thread.
            self._cancel_all()
            for thread in self._threads:
                thread.join(_SECONDS_TO_STOP)
        return judge(self._results)

    def cancel(self) -> None:
        """Stop all ranks; see `Runner.cancel`. The thread that waits in `run` does it, at once."""
        self._events.put(_Event(cancelled=True))
        if not self._several:
            self._first.cancel()

    def _to_their_end(self, work: Work, port: int, context: Any) -> None:
        """Start the others when rank 0 runs, wait for all, and end them where one is missing."""
        deadline = None
        while len(self._results) < len(self._runners):
            event = self._next(deadline)
            if event is None or event.cancelled:
                self._cancel_all()
                deadline = None
            elif event.address and len(self._runners) == 1 and not self._ending:
                log.info("started_ranks count=%d coordinator=%s:%d", work.settings.nodes, event.address, port)
                for rank in range(1, work.settings.nodes):
                    runner = self._runners[rank] = self._create(ignore_address)
                    self._start(runner, rank, work_of(rank, work, f"{event.address}:{port}"), context)
            elif event.result is not None:
                self._results[event.rank] = event.result
                restored = event.result["outcome"] == "restored"
                if (event.rank == 0 or event.result["outcome"] != "ran") and not self._ending:
                    # Rank 0 took the outputs from the cache, so the others have nothing to train.
                    deadline = deadline or time.monotonic() + (0 if restored else self._patience)

    def _next(self, deadline: float | None) -> _Event | None:
        """The next event; None where the deadline comes first."""
        while deadline is None or time.monotonic() < deadline:
            seconds = _SECONDS_BETWEEN_LOOKS if deadline is None else deadline - time.monotonic()
            with suppress(Empty):
                return self._events.get(timeout=max(0.0, min(seconds, _SECONDS_BETWEEN_LOOKS)))
        return None

    def _start(self, runner: Runner, rank: int, work: Work, context: Any) -> None:
        def run() -> None:
            try:
                result = runner.run(work, context)
            except Exception as error:
                log.exception("failed_rank rank=%d", rank)
                result = {"outcome": "failed", "reason": f"{type(error).__name__}: {error}"}
            self._events.put(_Event(rank, result=result or {"outcome": "failed", "reason": "left no result"}))

        # A daemon: what hangs must not hold the process of a task that has ended.
        self._threads.append(Thread(target=run, name=work.name, daemon=True))
        self._threads[-1].start()

    def _cancel_all(self) -> None:
        """Cancel every rank that has not ended, at the same time; once."""
        if self._ending:
            return
        self._ending = True
        for rank, runner in self._runners.items():
            if rank not in self._results:
                Thread(target=_cancel, args=(rank, runner), daemon=True).start()


def _cancel(rank: int, runner: Runner) -> None:
    try:
        runner.cancel()
    except Exception as error:
        log.warning("failed_to_cancel rank=%d reason=%s", rank, " ".join(str(error).split())[:300])
