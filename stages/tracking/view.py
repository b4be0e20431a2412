"""A view of an experiment's runs in MLflow: the columns that executions are compared by.

MLflow's own first view has no metric. A view that a person saves there is a tag of the experiment; this
module writes one, which the list offers as "Executions".
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

_KEY = "executions"
TAG = f"mlflow.sharedViewState.{_KEY}"
_METRICS = ("accuracy", "accuracy_low", "accuracy_high", "log_loss", "ece")
_ENSEMBLE = "ensemble"
# How MLflow 3.17 marks a state that is compressed.
_COMPRESSED = "deflate;"
# A tag of an experiment has at most 5,000 characters.
_MAX_COLUMNS = 60


def save(
    client: "MlflowClient", experiment: str, metrics: Iterable[str], params: Iterable[str], now: int
) -> str:
    """Give the experiment the view, with a column for each param in which an execution has differed.

    Args:
        client: Of the server.
        experiment: Its id.
        metrics: Names of the execution's metrics: MEMBER.METRIC.
        params: Names of the execution's params.
        now: Milliseconds since 1970.

    Returns:
        The address of the view, as a link of a description has it.
    """
    earlier = client.get_experiment(experiment).tags.get(TAG)
    shown = _columns(earlier)
    added = [*_metric_columns(metrics), *(f"params.`{name}`" for name in params)]
    wanted = list(dict.fromkeys([*shown, *added]))[:_MAX_COLUMNS]
    if wanted != shown:
        client.set_experiment_tag(experiment, TAG, _value(wanted, now))
    return f"#/experiments/{experiment}/runs?viewStateShareKey={_KEY}"


def _metric_columns(names: Iterable[str]) -> list[str]:
    """The ensemble's figures, or those of the only member, and the accuracy of each member."""
    members = list(dict.fromkeys(name.partition(".")[0] for name in names))
    headline = _ENSEMBLE if _ENSEMBLE in members else next(iter(members), _ENSEMBLE)
    rest = [f"{member}.accuracy" for member in members if member != headline]
    return [f"metrics.`{name}`" for name in [*(f"{headline}.{key}" for key in _METRICS), *rest]]


def _columns(value: str | None) -> list[str]:
    """The columns of a view; of one that cannot be read, none."""
    try:
        state = str(json.loads(value or "")["state"]).removeprefix(_COMPRESSED)
        text = zlib.decompress(base64.b64decode(f"{state}{'=' * (-len(state) % 4)}"))
        return [str(name) for name in json.loads(text)["selectedColumns"]]
    except (ValueError, KeyError, TypeError, zlib.error):
        return []


def _value(columns: list[str], now: int) -> str:
    state: Mapping[str, Any] = {
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": columns,
    }
    text = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    view = {"name": "Executions", "createdAt": now, "updatedAt": now, "state": f"{_COMPRESSED}{text}"}
    return json.dumps(view)
