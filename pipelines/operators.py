"""The tasks of a run: each is one call of the worker by a runner, and what its result means for Airflow."""

import json
import re
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    DownstreamTasksSkipped,
)

from pipelines import alerts, config, form, runners
from pipelines.graph import Settings

PLAN = "plan"


class Worker(BaseOperator):
    """What the three have in common: to start the worker, to stop it, to tell how it ended."""

    action = ""
    settings = Settings()
    _runner: runners.Runner | None = None

    def work(self, context: Any, address: str = "", **variables: str) -> dict[str, Any]:
        """Run the worker; return its result.

        Raises AirflowSkipException when there was nothing to do, AirflowFailException when a retry cannot
        help, AirflowException when it can.
        """
        settings, run = config.load(), run_name(context["dag_run"])
        self._runner = runners.create(context["params"]["runner"], settings)
        common = {
            "ACTION": self.action,
            "REPOSITORY": settings.repository,
            "RUN": run,
            "CACHE": settings.cache,
            "REMOTE": settings.remote,
            "STATE": settings.state,
            "DATA": settings.data,
            "WORK": f"{settings.state}/work",
        }
        given = {f"CONVOY_{key}": value for key, value in (common | variables).items()}
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"convoy-{run}-{address or self.action}")
        result = self._runner.run(runners.Work(name, given | settings.handed_on, self.settings), context)
        where = address or self.action
        if result is None:
            raise AirflowException(f"{where}: it was killed and left no result")
        if result["outcome"] == "restored":
            raise AirflowSkipException(f"{where}: {result['reason']}")
        if result["outcome"] == "refused":
            raise AirflowFailException(f"{where}: {result['reason']}")
        if result["outcome"] in ("failed", "stopped"):
            raise AirflowException(f"{where}: {result['reason']}")
        return result

    def on_kill(self) -> None:
        """Stop it: the run was cancelled in the UI, or the task took too long."""
        if self._runner is not None:
            self._runner.cancel()


class Plan(Worker):
    """Composes and checks the run's params, and says what will run and why."""

    action = PLAN

    def __init__(self, *, skips_rest: bool = False, **kwargs: Any) -> None:
        """`skips_rest`: where there is nothing to do, the run ends here, all else skipped."""
        super().__init__(**kwargs)
        self.skips_rest = skips_rest

    def execute(self, context: Any) -> dict[str, Any]:
        """Return the worker's result: the others take the params and the commit from it."""
        overrides = json.dumps(form.overrides(context["params"]))
        result = self.work(context, OVERRIDES=overrides, COMMIT=config.load().commit)
        alerts.note(config.load(), context["ti"], described(result))
        if self.skips_rest and not any(one["runs"] for one in result["stages"].values()):
            context["ti"].xcom_push("return_value", result)
            raise DownstreamTasksSkipped(tasks=sorted(self.get_flat_relative_ids(upstream=False)))
        return result


class RunStage(Worker):
    """Brings one stage up to date; of a foreach stage, one member."""

    action = "stage"
    template_fields = ("member",)

    def __init__(self, *, stage: str, settings: Settings, member: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage, self.settings, self.member = stage, settings, member

    def execute(self, context: Any) -> dict[str, Any]:
        """Return the worker's result. A stage that the plan knows to be cached is skipped at once."""
        plan = context["ti"].xcom_pull(task_ids=PLAN)
        address = f"{self.stage}@{self.member}" if self.member else self.stage
        planned = plan["stages"].get(address, {"runs": True, "reason": ""})
        if not planned["runs"]:
            # A worker would come to the same, in seconds instead of none.
            raise AirflowSkipException(f"{address}: {planned['reason']}")
        result = self.work(context, address, STAGE=address, PARAMS=plan["params"], COMMIT=plan["commit"])
        reason = "; ".join(filter(None, [planned["reason"], result["reason"]]))
        return result | {"reason": reason}


class MlflowLink(BaseOperatorLink):
    """A button on record: the run in MLflow."""

    name = "MLflow"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The page of the run; empty when nothing was tracked."""
        return str(operator.mlflow_url)


class Record(Worker):
    """Proves that the run is complete, saves it as a DVC experiment, links Airflow, DVC and MLflow."""

    action = "record"
    operator_extra_links = (MlflowLink(),)
    mlflow_url = ""

    def execute(self, context: Any) -> dict[str, Any]:
        """Return the worker's result; the links stand in the run's note too."""
        plan, settings, run = context["ti"].xcom_pull(task_ids=PLAN), config.load(), context["dag_run"]
        url = f"{settings.airflow_url}/dags/{run.dag_id}/runs/{run.run_id}" if settings.airflow_url else ""
        given = {"PARAMS": plan["params"], "COMMIT": plan["commit"], "RUN_URL": url}
        result = self.work(context, MLFLOW_URL=settings.mlflow_url, **given)
        self.mlflow_url = result["mlflow_url"] or ""
        links = f"[MLflow]({self.mlflow_url}), " if self.mlflow_url else ""
        alerts.note(settings, context["ti"], f"Recorded: {links}DVC experiment `{result['experiment']}`")
        return result


def run_name(run: Any) -> str:
    """A run's name outside Airflow: allowed as a branch of git and in the name of a container."""
    own = re.sub(r"^(manual|scheduled|asset_triggered)__", "", run.run_id)
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{run.dag_id}-{own}").strip("-")


def described(plan: Mapping[str, Any]) -> str:
    """The plan as a note: its summary, then what will run and why."""
    running = [f"- **{name}**: {one['reason']}" for name, one in plan["stages"].items() if one["runs"]]
    return "\n".join([f"Plan: {plan['reason']}", "", *running])
