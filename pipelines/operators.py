"""The tasks of a run. Each calls the worker once through a runner and reports its result to Airflow."""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from airflow.sdk import Asset, BaseOperator, BaseOperatorLink
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    DownstreamTasksSkipped,
)

from pipelines import alerts, config, overrides, runners
from pipelines.graph import Settings
from pipelines.markdown import code
from pipelines.worker.lines import without_login

PLAN, APPROVE, RECORD = "plan", "approve", "record"


class Worker(BaseOperator):
    """Base of the three tasks: starts the worker, stops it, and turns its outcome into a task state."""

    action = ""
    settings = Settings()
    _runner: runners.Runner | None = None

    def work(self, context: Any, address: str = "", **variables: str) -> dict[str, Any]:
        """Run the worker.

        Args:
            context: Airflow's context of the task.
            address: The stage as DVC calls it; empty for plan and record.
            variables: Further variables of the worker, without the prefix CONVOY_.

        Returns:
            The worker's result; pipelines/worker/__init__.py lists its keys.

        Raises:
            AirflowSkipException: There was nothing to do.
            AirflowFailException: A permanent error.
            AirflowException: A transient error; Airflow retries.
        """
        settings = config.load()
        try:
            run = runners.run_name(context["dag_run"])
        except ValueError as error:
            raise AirflowFailException(f"{self.action}: {error}") from None
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
        environment = {f"CONVOY_{key}": value for key, value in (common | variables).items()}
        label = address or self.action
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"convoy-{run}-{label}")
        limits = settings_of(self, context)
        work = runners.Work(name, environment | settings.passed_variables, limits)
        result = self._runner.run(work, context)
        if result is None:
            raise AirflowException(f"{label}: the task was killed and left no result")
        reason = f"{label}: {result['reason']}"
        if result["outcome"] == "restored":
            skip(context, reason)
        if result["outcome"] == "refused":
            raise AirflowFailException(reason)
        if result["outcome"] in ("failed", "stopped"):
            raise AirflowException(reason)
        return result

    def on_kill(self) -> None:
        """Stop the worker: the run was cancelled in the UI, or the task took too long."""
        if self._runner is not None:
            self._runner.cancel()


class MlflowLink(BaseOperatorLink):
    """A button: the run in MLflow."""

    name = "MLflow"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the page of the run; empty when nothing was tracked."""
        return str(operator.mlflow_url)


class Plan(Worker):
    """Composes and checks the run's params, and says what will run and why."""

    action = PLAN
    operator_extra_links = (MlflowLink(),)
    mlflow_url = ""

    def execute(self, context: Any) -> dict[str, Any]:
        """Return the worker's result, from which the other tasks take the params and the commit.

        Where there is nothing to do, all other tasks are skipped at once: each would take a second to say so.
        `record` is not skipped where no run with the same params has been recorded.
        """
        try:
            overrides.check_field_names(context["dag_run"].conf or {}, self.dag.params)
            lines = json.dumps(overrides.from_form(context["params"]))
            settings = config.load()
            stages = [task for task in self.dag.tasks if isinstance(task, RunStage)]
            limits = {task.stage: settings_of(task, context) for task in stages}
            backend = settings.passed_variables.get("KERAS_BACKEND", "")
            overrides.check_backend(limits, context["params"]["runner"], backend)
            tasks = {task.task_id: Settings(pool=task.pool) for task in self.dag.tasks}
            overrides.check_pools(tasks | limits, lambda pool: alerts.slots_of_pool(settings, pool))
        except overrides.FormError as error:
            raise AirflowFailException(f"plan: {error}") from None
        if context["dag_run"].run_type == "backfill":
            self._skip_backfill(context)
        forced = json.dumps(context["params"]["force"] or [])
        result = self.work(context, OVERRIDES=lines, COMMIT=settings.commit, FORCED=forced)
        note = describe_plan(result)
        if any(stage["runs"] for stage in result["stages"].values()):
            alerts.add_note(settings, context["ti"], note)
            return result
        others = set(self.get_flat_relative_ids(upstream=False))
        if recorded := result["recorded"]:
            self.mlflow_url = recorded["mlflow_url"] or ""
            note = f"{note}\n\n{describe_record(recorded)}"
            alerts.post(
                settings, context, "succeeded", experiment=recorded["experiment"], mlflow=self.mlflow_url
            )
        else:
            others -= {RECORD}
        alerts.add_note(settings, context["ti"], note)
        context["ti"].xcom_push("return_value", result)
        raise DownstreamTasksSkipped(tasks=sorted(others))

    def _skip_backfill(self, context: Any) -> NoReturn:
        """Skip all of a run for a past date: it would train and judge on the data and the code of today.

        A backfill of three days has three such runs, which Airflow may start at the same time.
        """
        reason = "a backfill has nothing to do: a run of any date takes the data and the commit of today"
        self.log.info("skipped_backfill reason=%s", reason)
        alerts.add_task_note(config.load(), context["ti"], f"Skipped: {code(reason)}")
        alerts.add_note(config.load(), context["ti"], f"Skipped: {code(reason)}")
        raise DownstreamTasksSkipped(tasks=sorted(self.get_flat_relative_ids(upstream=False)))


class RunStage(Worker):
    """Brings a stage up to date; of a foreach stage, a member."""

    action = "stage"
    template_fields = ("member",)
    _result: Mapping[str, Any] | None = None

    def __init__(self, *, stage: str, settings: Settings, member: str = "", **kwargs: Any) -> None:
        self.asset = Asset(f"convoy-{stage}")
        super().__init__(outlets=[self.asset], **kwargs)
        self.stage, self.settings, self.member = stage, settings, member

    def execute(self, context: Any) -> dict[str, Any]:
        """Return the worker's result. A stage that the plan knows to be cached is skipped at once."""
        plan = context["ti"].xcom_pull(task_ids=PLAN)
        address = f"{self.stage}@{self.member}" if self.member else self.stage
        planned = plan["stages"].get(address, {"runs": True, "reason": ""})
        if not may_run(self, plan, address):
            # A worker would come to the same result, in seconds instead of none.
            skip(context, f"{address}: {planned['reason']}")
        result = self.work(
            context,
            address,
            STAGE=address,
            PARAMS=params_of(self, context, plan),
            COMMIT=plan["commit"],
            MESSAGES=json.dumps(self.settings.messages),
            FORCED=json.dumps([address] if planned.get("forced") else []),
        )
        self._result = result
        for fields in result["events"]:
            alerts.post(config.load(), context, fields["event"], **fields)
            alerts.add_note(config.load(), context["ti"], describe_event(address, fields))
        context["outlet_events"][self.asset].extra = {
            "run": runners.run_name(context["dag_run"]),
            "stage": address,
            "commit": plan["commit"],
            "outputs": result["outputs"],
            "event": result["last_event"],
        }
        reason = "; ".join(filter(None, [planned["reason"], result["reason"]]))
        return result | {"reason": reason}

    def get_openlineage_facets_on_complete(self, _: Any) -> Any:
        """Return inputs and outputs to OpenLineage's provider, which calls this by its name."""
        from pipelines import lineage

        return self._result and lineage.facets(without_login(config.load().repository), self._result)


class Record(Worker):
    """Proves that the run is complete, saves it as a DVC experiment, links Airflow, DVC and MLflow."""

    action = RECORD
    operator_extra_links = (MlflowLink(),)
    mlflow_url = ""

    def execute(self, context: Any) -> dict[str, Any]:
        """Return the worker's result, and put the links into the run's note too."""
        plan, settings, run = context["ti"].xcom_pull(task_ids=PLAN), config.load(), context["dag_run"]
        url = f"{settings.airflow_url}/dags/{run.dag_id}/runs/{run.run_id}" if settings.airflow_url else ""
        params = params_of(self, context, plan)
        variables = {"PARAMS": params, "COMMIT": plan["commit"], "RUN_URL": url}
        result = self.work(context, MLFLOW_URL=settings.mlflow_url, **variables)
        self.mlflow_url = result["mlflow_url"] or ""
        alerts.add_note(settings, context["ti"], describe_record(result))
        alerts.post(settings, context, "succeeded", experiment=result["experiment"], mlflow=self.mlflow_url)
        return result


class CleanUp(Worker):
    """Lists or removes what old runs left, as the form says."""

    action = "clean_up"

    def execute(self, context: Any) -> dict[str, Any]:
        """Return the worker's result, and put its sentence into the run's note."""
        settings, params = config.load(), context["params"]
        try:
            overrides.check_field_names(context["dag_run"].conf or {}, self.dag.params)
        except overrides.FormError as error:
            raise AirflowFailException(f"clean_up: {error}") from None
        result = self.work(
            context,
            DAYS=str(params["days"]),
            REMOVE=str(int(params["remove"])),
            COMMIT=settings.commit,
        )
        alerts.add_note(settings, context["ti"], result["reason"])
        return result


def settings_of(task: Worker, context: Any) -> Settings:
    """Settings of a task in a run: those of dvc.yaml, or of the run's form."""
    params = context["params"]
    settings = task.settings.with_gpus(params.get("gpus")).with_nodes(params.get("nodes"))
    return settings.with_pool(params.get("pool"))


def may_run(task: Any, plan: Mapping[str, Any], address: str) -> bool:
    """Whether a stage may have something to do: it is planned, or comes after one that was forced.

    Only the worker of a stage after a forced one can say whether an input has changed.
    """
    stages = plan["stages"]
    forced = {name.partition("@")[0] for name, stage in stages.items() if stage["forced"]}
    planned = address not in stages or stages[address]["runs"]
    return planned or bool(forced & task.get_flat_relative_ids(upstream=True))


def params_of(task: Any, context: Any, plan: Mapping[str, Any]) -> str:
    """The text of a run's params.yaml: the plan's, or the one that a person's answer left."""
    answer = None
    if APPROVE in task.get_flat_relative_ids(upstream=True):
        answer = context["ti"].xcom_pull(task_ids=APPROVE)
    return str((answer or plan)["params"])


def skip(context: Any, reason: str) -> NoReturn:
    """End a task as skipped, with the reason where people look: the open part of the log and the task's note.

    Airflow logs the exception's own message in a group that the page shows closed.
    """
    context["task"].log.info("skipped_stage reason=%s", reason)
    alerts.add_task_note(config.load(), context["ti"], f"Skipped: {code(reason)}")
    raise AirflowSkipException(reason)


def describe_plan(plan: Mapping[str, Any]) -> str:
    """Write the plan as a note: its summary, then what will run and why."""
    lines = [
        f"- **{name}**: {code(stage['reason'])}" for name, stage in plan["stages"].items() if stage["runs"]
    ]
    return "\n".join([f"Plan: {plan['reason']}", "", *lines])


def describe_event(address: str, fields: Mapping[str, str]) -> str:
    """Write an event of a stage's log as a note."""
    details = [f"{key} {code(value)}" for key, value in fields.items() if key != "event" and value]
    return f"**{address}**: {', '.join([fields['event'], *details])}"


def describe_record(recorded: Mapping[str, Any]) -> str:
    """Write as a note where a run is recorded."""
    links = f"[MLflow]({recorded['mlflow_url']}), " if recorded["mlflow_url"] else ""
    return f"Recorded: {links}DVC experiment `{recorded['experiment']}`"
