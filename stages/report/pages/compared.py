"""Runs read from a tracking server, for a comparison."""

import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.scoring.predictions import Predictions
from stages.tracking.executions import PARENT, STAGE
from stages.tracking.server import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PIPELINE, EVALUATE, ENSEMBLE = "pipeline", "evaluate", "ensemble"
_CURVES = ("loss", "val_loss", "accuracy", "val_accuracy")
_MOST = 1000
_RECIPE = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Part:
    """A member, or the ensemble, of a run: curves are pairs of epoch and value, metrics the last values."""

    run_id: str
    metrics: dict[str, float]
    params: dict[str, str] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    predictions: Predictions | None = None


@dataclass(frozen=True)
class Compared:
    """One execution of the pipeline, or one training: its name, its tags, and its parts by name."""

    name: str
    run_id: str
    tags: dict[str, str]
    parts: dict[str, Part]


def by_names(client: "MlflowClient", names: list[str]) -> list[Compared]:
    """Return the runs with these ids, beginnings of ids, or names, in this order.

    Raises:
        TrackingError: A name fits no run.
    """
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = _search(client, experiments, "")
    chosen: list[Run] = []
    for name in names:
        fitting = [run for run in runs if name == run.info.run_name or run.info.run_id.startswith(name)]
        if not fitting:
            raise TrackingError(f"no run has the id or the name {name}; see mlflow ui, or give --recipe")
        chosen.append(fitting[0])
    return [column for run in chosen for column in _columns(client, run)]


def by_recipe(client: "MlflowClient", recipe: str, count: int) -> list[Compared]:
    """Return the last `count` executions of a recipe that were evaluated, the oldest first.

    Raises:
        TrackingError: There is none.
    """
    experiment = client.get_experiment_by_name(recipe)
    if experiment is None:
        # Others are MLflow's own, or a promotion's lease.
        every = [each.name for each in client.search_experiments()]
        names = sorted(name for name in every if _RECIPE.fullmatch(name))
        raise TrackingError(f"no runs of recipe {recipe}; allowed: {', '.join(names) or 'none yet'}")
    evaluations = _search(client, [experiment.experiment_id], f"tags.{STAGE} = '{EVALUATE}'")
    finished = _finished(evaluations)
    # Of an execution that evaluated twice, the last.
    last = {run.data.tags.get(PARENT, run.info.run_id): run for run in reversed(finished)}
    newest = sorted(last.values(), key=lambda run: int(run.info.start_time))[-count:]
    if not newest:
        raise TrackingError(f"no execution of recipe {recipe} was evaluated")
    return [_evaluated(client, run) for run in newest]


def _columns(client: "MlflowClient", run: "Run") -> list[Compared]:
    """A run as one column; an execution without an evaluation, such as a sweep, as one per training."""
    stage = run.data.tags.get(STAGE)
    if stage == EVALUATE:
        return [_evaluated(client, run)]
    if stage == PIPELINE:
        children = _search(client, [run.info.experiment_id], f"tags.`{PARENT}` = '{run.info.run_id}'")
        evaluations = _finished(child for child in children if child.data.tags.get(STAGE) == EVALUATE)
        trainings = [child for child in children if "member" in child.data.tags]
        if not evaluations and not trainings:
            raise TrackingError(
                f"run {run.info.run_name} has no training and no evaluation of its own: it used those of "
                "earlier runs; name one of these"
            )
        return [column for child in evaluations[:1] or trainings for column in _columns(client, child)]
    if (member := run.data.tags.get("member")) is None:
        raise TrackingError(
            f"run {run.info.run_id} is of stage {stage}; only trainings and evaluations compare"
        )
    link = f"tags.{STAGE} = '{EVALUATE}' and tags.`run.{member}` = '{run.info.run_id}'"
    evaluations = _finished(_search(client, [run.info.experiment_id], link))
    part = _part(client, run, evaluations[0] if evaluations else None, member)
    return [Compared(run.info.run_name, run.info.run_id, run.data.tags, {member: part})]


def _finished(evaluations: Iterable["Run"]) -> list["Run"]:
    """Those with results: one that failed, or still runs, has none or half of them."""
    return [run for run in evaluations if run.info.status == "FINISHED"]


def _evaluated(client: "MlflowClient", run: "Run") -> Compared:
    """An evaluation under the name of its execution, with the members that it links."""
    scores, predictions = _scores(run, ENSEMBLE), _predictions(client, run, ENSEMBLE)
    parts = {ENSEMBLE: Part(run.info.run_id, scores, predictions=predictions)}
    for key, run_id in run.data.tags.items():
        if key.startswith("run."):
            member = key.removeprefix("run.")
            parts[member] = _part(client, client.get_run(run_id), run, member)
    parent = client.get_run(run.data.tags[PARENT])
    return Compared(parent.info.run_name, parent.info.run_id, run.data.tags, parts)


def _part(client: "MlflowClient", run: "Run", evaluation: "Run | None", member: str) -> Part:
    histories = {
        key: client.get_metric_history(run.info.run_id, key) for key in _CURVES if key in run.data.metrics
    }
    scores = _scores(evaluation, member) if evaluation else {}
    return Part(
        run.info.run_id,
        run.data.metrics | scores,
        run.data.params,
        {key: [(point.step, point.value) for point in points] for key, points in histories.items()},
        _predictions(client, evaluation, member) if evaluation else None,
    )


def _scores(evaluation: "Run", name: str) -> dict[str, float]:
    """On the test split, as `test_NAME`, beside a training's own metrics."""
    return {
        f"test_{key.removeprefix(f'{name}.')}": value
        for key, value in evaluation.data.metrics.items()
        if key.startswith(f"{name}.")
    }


def _predictions(client: "MlflowClient", evaluation: "Run", name: str) -> Predictions | None:
    path = f"predictions/{name}.npz"
    files = client.list_artifacts(evaluation.info.run_id, "predictions")
    if path not in {artifact.path for artifact in files}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(client.download_artifacts(evaluation.info.run_id, path, folder))
        with np.load(file, allow_pickle=False) as arrays:
            return Predictions(arrays["ids"], arrays["labels"], arrays["probabilities"])


def _search(client: "MlflowClient", experiments: list[str], query: str) -> "list[Run]":
    """All runs that fit the query, the newest first."""
    runs: list[Run] = []
    token = None
    while True:
        order = ["attributes.start_time DESC"]
        page = client.search_runs(experiments, query, max_results=_MOST, order_by=order, page_token=token)
        runs += page
        if not (token := page.token):
            return runs
