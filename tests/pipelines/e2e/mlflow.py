"""MLflow's REST interface, as far as the tests need it."""

from typing import Any

import requests


class Mlflow:
    """A running MLflow.

    Attributes:
        url: Its address.
    """

    def __init__(self, url: str, login: tuple[str, str] | None = None) -> None:
        """Connect; `login` is user and password, where it wants one."""
        self.url, self._session = url, requests.Session()
        self._session.auth = login

    def ask(self, path: str, body: Any = None) -> Any:
        """One call; raises AssertionError with MLflow's own words when it is refused."""
        method = "GET" if body is None else "POST"
        answer = self._session.request(method, f"{self.url}/api/2.0/mlflow/{path}", json=body, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def runs(self, query: str) -> list[dict[str, Any]]:
        """The runs that a search returns, oldest first."""
        experiments = self.ask("experiments/search", {"max_results": 100})["experiments"]
        search = {
            "experiment_ids": [experiment["experiment_id"] for experiment in experiments],
            "filter": query,
            "order_by": ["attributes.start_time ASC"],
        }
        return list(self.ask("runs/search", search).get("runs", []))

    def epochs(self, run: str) -> list[int]:
        """The epochs of lenet's training in a run, which must not have a second one."""
        for parent in self.runs(f"tags.`convoy.run` = '{run}'"):
            query = f"tags.`mlflow.parentRunId` = '{parent['info']['run_id']}' and tags.member = 'lenet'"
            if members := self.runs(query):
                (member,) = members
                history = f"run_id={member['info']['run_id']}&metric_key=accuracy&max_results=1000"
                points = self.ask(f"metrics/get-history?{history}").get("metrics", [])
                return sorted({point.get("step", 0) for point in points})
        return []
