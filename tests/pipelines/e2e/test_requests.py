"""What a person sends in a day, in a minute: while two runs are on, no answer is a server's error."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.pipelines.e2e.client import Airflow

pytestmark = pytest.mark.slow

SEED = 20_261_126
REQUESTS = 200
# A browser has up to six connections to a server.
AT_ONCE = 6
REFUSED = (400, 404, 409, 422)


@dataclass(frozen=True)
class Request:
    """One request, and the statuses that answer it rightly."""

    method: str
    path: str
    body: Any = None
    allowed: tuple[int, ...] = (200, 201, 204)


class Day:
    """The requests, drawn at random; `runs` can be cancelled and cleared, the two of the test cannot."""

    def __init__(self, airflow: Airflow, working: list[str]) -> None:
        self.working, self.runs = working, [airflow.trigger("train", overrides=["base=-2"]) for _ in range(2)]
        self._asset = airflow.ask("GET", "assets?name_pattern=new-data")["assets"][0]["id"]
        self._random = random.Random(SEED)
        self._kinds: list[tuple[int, Callable[[], Request]]] = [
            (30, self._list),
            (20, self._note),
            (15, self._task_note),
            (15, self._log),
            (10, self._trigger_refused),
            (8, self._cancel),
            (8, self._asset_event),
            (4, self._clear),
            (2, self._trigger),
        ]

    def requests(self) -> list[Request]:
        weights, kinds = zip(*self._kinds, strict=True)
        return [kind() for kind in self._random.choices(kinds, weights, k=REQUESTS)]

    def _list(self) -> Request:
        paths = [
            "dags",
            "dags/train/dagRuns?order_by=-id&limit=50",
            f"dags/train/dagRuns/{self._run()}/taskInstances",
            "dags/~/dagRuns/~/taskInstances?limit=50",
            "eventLogs?limit=50&order_by=-event_log_id",
            "assets/events",
            "importErrors",
            "jobs",
            "dagStats",
            "pools",
        ]
        return Request("GET", self._random.choice(paths))

    def _note(self) -> Request:
        text = f"note {self._random.random()}"
        return Request("PATCH", f"dags/train/dagRuns/{self._run()}", {"note": text})

    def _task_note(self) -> Request:
        path = f"dags/train/dagRuns/{self._run()}/taskInstances/plan"
        return Request("PATCH", path, {"note": f"note {self._random.random()}"})

    def _log(self) -> Request:
        # 404: the task has not begun.
        path = f"dags/train/dagRuns/{self._random.choice(self.working)}/taskInstances/plan/logs/1"
        return Request("GET", path, allowed=(200, 404))

    def _trigger_refused(self) -> Request:
        conf = self._random.choice([{"epochs": 0}, {"recipe": "smal"}, {"overrides": ["base is 3"]}])
        return Request("POST", "dags/train/dagRuns", {"logical_date": None, "conf": conf}, REFUSED)

    def _trigger(self) -> Request:
        conf = {"overrides": ["base=-3"]}
        return Request("POST", "dags/train/dagRuns", {"logical_date": None, "conf": conf})

    def _cancel(self) -> Request:
        return Request("PATCH", f"dags/train/dagRuns/{self._random.choice(self.runs)}", {"state": "failed"})

    def _clear(self) -> Request:
        run = self._random.choice(self.runs)
        body = {"dry_run": False, "dag_run_id": run, "only_failed": True}
        return Request("POST", "dags/train/clearTaskInstances", body, (200, *REFUSED))

    def _asset_event(self) -> Request:
        return Request("POST", "assets/events", {"asset_id": self._asset, "extra": {}})

    def _run(self) -> str:
        return self._random.choice(self.working + self.runs)


@contextmanager
def paused_retrain(airflow: Airflow) -> Iterator[None]:
    """Its runs would follow the asset events, and take time from the other tests."""
    airflow.ask("PATCH", "dags/retrain", {"is_paused": True})
    try:
        yield
    finally:
        airflow.ask("PATCH", "dags/retrain", {"is_paused": False})


def test_no_request_of_a_busy_day_meets_an_error_of_the_server(airflow: Airflow) -> None:
    working = [airflow.trigger("train", overrides=[f"base={base}"]) for base in (101, 102)]
    with paused_retrain(airflow):
        day = Day(airflow, working)
        requests = day.requests()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(
                pool.map(lambda request: airflow.send(request.method, request.path, request.body), requests)
            )
        wrong = [
            f"{request.method} {request.path}: {answer.status_code} {answer.text[:200]}"
            for request, answer in zip(requests, answers, strict=True)
            if answer.status_code not in request.allowed
        ]
        assert not wrong, "\n".join(wrong)
        kinds = Counter(request.method for request in requests)
        assert min(kinds[method] for method in ("GET", "POST", "PATCH")) > 30, kinds
        for run in day.runs:
            airflow.ask("PATCH", f"dags/train/dagRuns/{run}", {"state": "failed"})
        assert [airflow.ended("train", run) for run in working] == ["success", "success"]
