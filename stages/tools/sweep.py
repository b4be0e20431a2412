"""sweep: search a member's params with Optuna; trials are judged on the val split, test stays closed.

`make sweep RECIPE=digits MEMBER=lenet` makes the recipe's data ready and tries what conf/sweep/cnn.yaml says.
Every trial is `python -m stages.train` with other params, a process of its own and a child of one MLflow run.
Trials are kept in sweeps.db: a sweep that was stopped goes on, and another `--trials 10` adds ten.
"""

import copy
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stages import cli, params
from stages.common import log
from stages.common.errors import ConvoyError, ParamsError
from stages.common.files import read_json
from stages.models.learners import HISTORY

if TYPE_CHECKING:
    import optuna

STORAGE = "sqlite:///sweeps.db"
# Params come from here, whole; a trial changes what the space names.
_PARAMS = Path("params.yaml")


class SweepError(ConvoyError):
    """No trial came to its end."""


def search(member: str, *, space: Path = Path("conf/sweep/cnn.yaml"), trials: int = 20) -> None:
    """Search a member's params, and print the command that runs the best trial's.

    Args:
        member: A name of models in params.yaml.
        space: The file with the ranges to search.
        trials: How many trials to run.

    Raises:
        ParamsError: When the space names a key that the member does not have.
        SweepError: When every trial failed.
    """
    study = sweep(member, space, trials)
    log.event("searched_params", trials=len(study.trials), best_val_loss=f"{study.best_value:.4f}")
    best = " ".join(f"-S models.{member}.{key}={value}" for key, value in study.best_params.items())
    print(f"dvc exp run {best}")


def sweep(member: str, space: Path, trials: int) -> "optuna.Study":
    """Run so many trials more. The study's value is the lowest loss on the val split of any epoch.

    Raises ParamsError when the space names what the member has not, SweepError when every trial failed.
    """
    import optuna

    checked = params.load(_PARAMS)
    if member not in checked.models:
        raise ParamsError(f"no model {member}; allowed: {', '.join(checked.models)}")
    values: dict[str, Any] = yaml.safe_load(_PARAMS.read_bytes())
    ranges = _read(space)
    for key in ranges:
        checked.at(f"models.{member}.{key}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=f"{values['recipe']}/{member}",
        storage=STORAGE,
        load_if_exists=True,
    )
    # Not of the seed alone: a sweep that goes on would draw once more what it has tried.
    study.sampler = optuna.samplers.TPESampler(seed=values["seed"] + len(study.trials))
    study.optimize(lambda trial: _trial(trial, member, values, ranges), n_trials=trials)
    if not study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
        raise SweepError(f"none of {len(study.trials)} trials came to its end; their reasons are above")
    return study


def _trial(
    trial: "optuna.Trial", member: str, values: Mapping[str, Any], ranges: Mapping[str, Mapping[str, Any]]
) -> float:
    import optuna

    tried = copy.deepcopy(dict(values))
    drawn = {key: _drawn(trial, key, about) for key, about in ranges.items()}
    for key, value in drawn.items():
        *path, last = key.split(".")
        section = tried["models"][member]
        for part in path:
            section = section[part]
        section[last] = value
    with tempfile.TemporaryDirectory(prefix="convoy-trial-") as folder:
        written, model = Path(folder) / "params.yaml", Path(folder) / "model"
        written.write_text(yaml.safe_dump(tried), encoding="utf-8")
        data = params.load(written).models[member].input
        command = [sys.executable, "-m", "stages.train", member]
        options = ["--params", str(written), "--data", data, "--model", str(model)]
        # One parent run in MLflow for all trials of a study.
        run = {"CONVOY_RUN": f"sweep-{trial.study.study_name.replace('/', '-')}"}
        if subprocess.run([*command, *options], env={**os.environ, **run}, check=False).returncode:
            # Diverged, most often: with a learning rate too high, that is what there is to know of it.
            raise optuna.TrialPruned
        loss = min(read_json(model / HISTORY)["val_loss"])
    log.event(
        "trial", number=trial.number, val_loss=f"{loss:.4f}", **{key: str(v) for key, v in drawn.items()}
    )
    return float(loss)


def _drawn(trial: "optuna.Trial", key: str, about: Mapping[str, Any]) -> Any:
    if "choices" in about:
        return trial.suggest_categorical(key, about["choices"])
    low, high, logarithmic = about["low"], about["high"], about.get("log", False)
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=logarithmic)
    return trial.suggest_float(key, low, high, log=logarithmic)


def _read(space: Path) -> dict[str, dict[str, Any]]:
    """The ranges by key. Raises ParamsError when the file is missing or a range is none."""
    try:
        ranges = yaml.safe_load(space.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise ParamsError(f"{space}: {error}") from None
    allowed = "{choices: […]} or {low: …, high: …, log: true|false}"
    for key, about in ranges.items() if isinstance(ranges, dict) else [("the file", ranges)]:
        known = isinstance(about, dict) and ({"choices"} == set(about) or {"low", "high"} <= set(about))
        if not known or set(about) - {"choices", "low", "high", "log"}:
            raise ParamsError(f"{space}: {key} is {about!r}; allowed: {allowed}")
    return dict(ranges)


if __name__ == "__main__":
    cli.main(search)
