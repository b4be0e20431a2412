"""In which order ranks may end, and what a task then says: by a runner whose end a test chooses."""

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.graph import Settings
from pipelines.runners import Work
from pipelines.runners._rank import judge
from pipelines.runners._ranks import Ranks

RAN = {"outcome": "ran", "reason": ""}
LOST = {"outcome": "failed", "reason": "another rank is gone"}
REFUSED = {"outcome": "refused", "reason": "models.a.lr is wrong"}
STOPPED = {"outcome": "stopped", "reason": "SIGTERM"}


class Container:
    """A runner whose work ends by `end` or by `cancel`."""

    def __init__(self, on_running: Callable[[str], None], address: str) -> None:
        self._on_running, self._address = on_running, address
        self._ended = threading.Event()
        self.started = threading.Event()
        self.cancelled = False
        self._result: dict[str, Any] | Exception | None = STOPPED

    def run(self, work: Work, context: Any) -> dict[str, Any] | None:
        self.work = work
        self._on_running(self._address)
        self.started.set()
        assert self._ended.wait(60)
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    def end(self, result: dict[str, Any] | Exception | None) -> None:
        self._result = result
        self._ended.set()

    def cancel(self) -> None:
        self.cancelled = True
        self._ended.set()


class Training:
    """Containers as ranks of one training, run in a thread."""

    def __init__(self, nodes: int = 3, address: str = "10.0.0.2", **options: Any) -> None:
        self.containers: list[Container] = []
        self._address = address
        self.ranks = Ranks(self._create, **options)
        self.work = Work("convoy-r-train-a", {"CONVOY_ACTION": "stage"}, Settings(nodes=nodes))
        self._results: list[Any] = []
        self._thread = threading.Thread(target=lambda: self._results.append(self.ranks.run(self.work, {})))

    def _create(self, on_running: Callable[[str], None]) -> Container:
        self.containers.append(Container(on_running, self._address))
        return self.containers[-1]

    def start(self, count: int = 3) -> list[Container]:
        """Run, and wait until so many containers have started."""
        self._thread.start()
        for number in range(count):
            while number >= len(self.containers):
                assert self._thread.is_alive()
            assert self.containers[number].started.wait(60)
        return self.containers

    def result(self) -> Any:
        self._thread.join(60)
        return self._results[0]


def test_each_rank_is_a_work_with_its_variables() -> None:
    training = Training()
    works = [container.work for container in training.start()]
    assert [work.name for work in works] == [
        "convoy-r-train-a",
        *(f"convoy-r-train-a.rank{n}" for n in (1, 2)),
    ]
    assert [work.variables["CONVOY_ACTION"] for work in works] == ["stage", "rank", "rank"]
    assert [work.label for work in works] == ["", "rank 1: ", "rank 2: "]
    addresses = [work.variables["KERAS_DISTRIBUTION_JOB_ADDRESSES"] for work in works]
    assert addresses == ["0.0.0.0:4321", "10.0.0.2:4321", "10.0.0.2:4321"]
    assert [work.variables["KERAS_DISTRIBUTION_PROCESS_ID"] for work in works] == ["0", "1", "2"]
    assert {work.variables["KERAS_DISTRIBUTION_NUM_PROCESSES"] for work in works} == {"3"}
    for container in reversed(training.containers):
        container.end(RAN)
    assert training.result() == RAN


def test_ranks_on_the_hosts_network_meet_at_a_free_port_of_this_host_alone() -> None:
    training = Training(2, address="127.0.0.1", shares_host=True)
    own, other = (
        container.work.variables["KERAS_DISTRIBUTION_JOB_ADDRESSES"] for container in training.start(2)
    )
    assert own == other
    assert own.startswith("127.0.0.1:")
    for container in training.containers:
        container.end(RAN)
    assert training.result() == RAN


def test_one_node_is_one_work_as_it_was() -> None:
    training = Training(nodes=1)
    (container,) = training.start(1)
    assert container.work is training.work
    training.ranks.cancel()
    assert training.result() == STOPPED


def test_the_others_are_ended_when_one_has_failed() -> None:
    training = Training(patience=0.01)
    containers = training.start()
    containers[2].end({"outcome": "failed", "reason": "killed"})
    assert training.result() == {"outcome": "failed", "reason": "rank 2: killed"}
    assert [container.cancelled for container in containers] == [True, True, False]


def test_a_rank_that_has_trained_does_not_end_rank_0_which_still_saves() -> None:
    training = Training(patience=0.0)
    containers = training.start()
    containers[1].end(RAN)
    containers[2].end(RAN)
    containers[0].end(RAN)
    assert training.result() == RAN
    assert not containers[0].cancelled


def test_ranks_are_ended_at_once_when_rank_0_was_restored() -> None:
    restored = {"outcome": "restored", "reason": "ran before"}
    training = Training(patience=600)
    containers = training.start()
    containers[0].end(restored)
    assert training.result() == restored
    assert [container.cancelled for container in containers] == [False, True, True]


def test_no_other_rank_starts_where_rank_0_cannot() -> None:
    training = Training(address="")
    (container,) = training.start(1)
    container.end(REFUSED)
    assert training.result() == {"outcome": "refused", "reason": f"rank 0: {REFUSED['reason']}"}
    assert len(training.containers) == 1


def test_a_permanent_error_is_the_cause_though_the_others_end_sooner() -> None:
    assert judge({1: LOST, 0: REFUSED})["outcome"] == "refused"
    assert judge({1: LOST, 0: STOPPED}) == LOST | {"reason": "rank 1: another rank is gone"}
    assert judge({1: RAN, 0: LOST, 2: STOPPED})["reason"] == "rank 0: another rank is gone"


def test_what_rank_0_has_saved_counts_though_another_rank_fails_then() -> None:
    assert judge({0: RAN, 1: LOST}) == RAN


def test_a_runner_without_a_result_ends_the_others() -> None:
    training = Training(2, patience=0.01)
    first, second = training.start(2)
    second.end(None)
    assert training.result()["reason"] == "rank 1: left no result"
    assert first.cancelled


def test_a_runner_that_raises_ends_the_others(caplog: pytest.LogCaptureFixture) -> None:
    training = Training(2, patience=0.01)
    first, second = training.start(2)
    second.end(ConnectionError("the engine is gone"))
    assert training.result()["reason"] == "rank 1: ConnectionError: the engine is gone"
    assert first.cancelled
    assert "failed_rank rank=1" in caplog.text


def test_cancel_ends_all_from_a_signal_handler_while_run_waits() -> None:
    training = Training()
    previous = signal.signal(signal.SIGUSR1, lambda *_: training.ranks.cancel())
    timer = threading.Timer(0.2, signal.raise_signal, (signal.SIGUSR1,))
    timer.start()
    try:
        assert training.ranks.run(training.work, {})["outcome"] == "stopped"  # type: ignore[index]
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert all(container.cancelled for container in training.containers)


def test_a_cancel_that_comes_first_lets_no_other_rank_start() -> None:
    training = Training()
    training.ranks.cancel()
    (container,) = training.start(1)
    assert training.result()["outcome"] == "stopped"
    assert len(training.containers) == 1
    assert container.cancelled


def test_an_exception_in_the_waiting_thread_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow raises the timeout of a task where its code is."""
    training = Training(2)

    def expire(*_: Any) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGUSR1, expire)
    timer = threading.Timer(0.2, signal.raise_signal, (signal.SIGUSR1,))
    timer.start()
    try:
        with pytest.raises(TimeoutError):
            training.ranks.run(training.work, {})
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert all(container.cancelled for container in training.containers)
