"""sweep: search a member's params with Optuna; trials are judged on the val split, test stays closed.

`make sweep RECIPE=digits MEMBER=lenet` packs the recipe's images, extracts its features and searches
conf/sweep/cnn.yaml.

- The objective is the val log loss of the weights that the pipeline would deliver: of the last epoch, or of
  the best with `train.keep: best`.
- A trial that is worse after an epoch than the median of the earlier trials after that epoch is pruned
  (docs/sweeps.md has the saving). A trial whose loss is not a number is pruned too; any other failure is
  FAILED, with its exit status and last line.
- Trials are stored in sweeps.db. A study is named by what its trials have in common: recipe, member, data,
  space, all other params, and code. The same sweep resumes it; another is a study of its own.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from cyclopts import Parameter, validators

from stages import cli, params
from stages.common import fingerprint, log
from stages.common.errors import ConvoyError, ParamsError
from stages.common.keras_import import chosen_backend
from stages.data import store
from stages.models import environment, learners
from stages.models.protocols import LearnerParams
from stages.models.training.schedules import Segments
from stages.report.pages import commands
from stages.tools import _experiment, _space
from stages.tools._process import TrialFailedError, run_trial
from stages.tools._space import Ranges

if TYPE_CHECKING:
    import optuna

STORAGE = "sqlite:///sweeps.db"
# Params come from here, whole; a trial changes what the space names.
_PARAMS, _CONF = Path("params.yaml"), Path("conf")
# Trials that run to their end before any is pruned, and epochs of a trial before it may be.
_FIRST_TRIALS, _FIRST_EPOCHS = 4, 2


class SweepError(ConvoyError):
    """No trial completed."""


def search(
    member: str,
    *,
    recipe: str | None = None,
    set: str = "",  # noqa: A002 (the option's name)
    space: Path = Path("conf/sweep/cnn.yaml"),
    trials: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 20,
) -> None:
    """Search a member's params, and print the command that runs the best trial's.

    Args:
        member: A key of `models`.
        recipe: A file of conf/recipe, without its ending; by default params.yaml as it is, with `set` the
            default recipe.
        set: `KEY=VALUE` words, separated by blanks, as -S of `dvc exp run`.
        space: The file with the ranges to search.
        trials: How many trials to run.

    Raises:
        UsageError: `set` has a quote without its end.
        LockedError: Another run is under way in this folder.
        ParamsError: A param is wrong, there is no such member, or the space is wrong for it.
        SourceError: DVC cannot read the source.
        SweepError: No trial completed.
    """
    changes = _experiment.changes_of(recipe, set)
    check = partial(_ranges, member=member, space=space)
    _experiment.prepare(changes, "pack", "extract", check=check)
    composed = _PARAMS.read_text(encoding="utf-8")
    study = sweep(member, space, trials)
    log.event(
        "searched_params",
        study=study.study_name,
        best_val_log_loss=f"{study.best_value:.4f}",
        **_counts(study),
    )
    print(_command(composed, member, study.best_params))


def sweep(member: str, space: Path, trials: int) -> "optuna.Study":
    """Run trials, after those that the same study has already.

    Args:
        member: A key of `models` in params.yaml.
        space: The file with the ranges to search.
        trials: How many trials to run.

    Returns:
        The study; its value is the val log loss of the delivered weights.

    Raises:
        ParamsError: There is no such member, or the space is wrong for it.
        SweepError: No trial completed.
    """
    import optuna

    checked = params.load(_PARAMS)
    # Read at the start: another command may compose other params while the sweep runs.
    composed = _PARAMS.read_text(encoding="utf-8")
    ranges = _ranges(checked, member, space)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=study_name(checked, member, ranges),
        storage=STORAGE,
        load_if_exists=True,
        pruner=pruner(ranges),
    )
    # Not the seed alone: a resumed study would draw once more what it has tried.
    study.sampler = optuna.samplers.TPESampler(seed=checked.seed + len(study.trials))
    # A parent run for each sweep, so that two sweeps of one study do not end each other's runs.
    parent = f"sweep {study.study_name} {time.strftime('%F %T')} {os.getpid()}"
    study.optimize(
        lambda trial: _objective(trial, composed, member, ranges, parent),
        n_trials=trials,
        catch=(TrialFailedError,),
    )
    if not study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
        raise SweepError(f"none of {len(study.trials)} trials completed; their reasons are above")
    return study


def _ranges(checked: params.Params, member: str, space: Path) -> Ranges:
    """Read the ranges.

    Raises:
        ParamsError: There is no such member; or the space does not exist, or names a key that the member does
            not have, or the learning rate of a schedule of segments.
    """
    checked.at(f"models.{member}")
    if not space.exists():
        raise ParamsError(f"SPACE: {space} does not exist")
    ranges = _space.read(space)
    for key in ranges:
        checked.at(f"models.{member}.{key}")
        _check_rate_is_free(checked, member, key, ranges)
    return ranges


def _check_rate_is_free(checked: params.Params, member: str, key: str, ranges: Ranges) -> None:
    """Refuse to draw a learning rate that must be the first segment's: no trial would have allowed params."""
    section, _, last = key.rpartition(".")
    schedule = f"{section}.schedule"
    if last != "learning_rate" or not section or schedule in ranges:
        return
    if isinstance(getattr(checked.at(f"models.{member}.{section}"), "schedule", None), Segments):
        raise ParamsError(
            f"models.{member}.{schedule} is segments, whose first one says {key}; "
            f"set {schedule}=constant, or name a space without {key}"
        )


def study_name(checked: params.Params, member: str, ranges: Ranges) -> str:
    """Name a study: recipe, member, and the fingerprint of all else that its trials have in common."""
    settings: LearnerParams = checked.models[member]
    common = settings.model_dump(mode="json")
    for key in ranges:
        _space.put(common, key, None)
    data = [_identity(Path(settings.input) / f"{split}.h5") for split in ("train", "val")]
    code = Path(settings.code)
    plugins = {f"stages.models.{code.parent.name}": (code.stem,), learners.__name__: (settings.kind,)}
    backend = [chosen_backend(), environment.variables()]
    code_of_trials = fingerprint.code("stages.tools.trial", plugins)
    digest = fingerprint.digest(common, ranges, data, code_of_trials, backend)
    return f"{checked.recipe}/{member}/{digest[:12]}"


def _identity(path: Path) -> list[Any]:
    with store.Reader(path) as rows:
        return [rows.provenance, list(rows.shape), fingerprint.digest(rows.ids.tolist())]


def pruner(ranges: Ranges) -> "optuna.pruners.BasePruner":
    """Make the pruner: median stopping.

    None where the space varies the length of a trial: a longer schedule is behind at every epoch.
    """
    import optuna

    if any(key.rpartition(".")[2] in ("epochs", "steps") for key in ranges):
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=_FIRST_TRIALS, n_warmup_steps=_FIRST_EPOCHS)


def _objective(trial: "optuna.Trial", composed: str, member: str, ranges: Ranges, parent: str) -> float:
    """Run one trial in a process of its own. Raises TrialPruned, or TrialFailedError with the reason."""
    import optuna

    drawn = {key: _space.draw(trial, key, about) for key, about in ranges.items()}
    shown = {key: str(value) for key, value in drawn.items()}
    with tempfile.TemporaryDirectory(prefix="convoy-trial-") as folder:
        file = Path(folder) / "params.yaml"
        file.write_text(_changed(composed, member, drawn), encoding="utf-8")
        try:
            data = params.load(file).models[member].input
            words = ["--params", str(file), "--data", data, "--number", str(trial.number)]
            command = [sys.executable, "-m", "stages.tools.trial", member, *words]
            result = run_trial(command, {"CONVOY_RUN": parent}, _reporter(trial))
        except (TrialFailedError, ParamsError) as error:
            trial.set_user_attr("reason", str(error))
            log.warning("failed_trial", number=trial.number, reason=error, **shown)
            raise TrialFailedError(str(error)) from None
    if result is None or "diverged" in result:
        reason = str(result["diverged"]) if result else "worse than the median"
        trial.set_user_attr("reason", reason)
        log.event("pruned_trial", number=trial.number, reason=reason, **shown)
        raise optuna.TrialPruned(reason)
    trial.set_user_attr("val_accuracy", result["val_accuracy"])
    loss = float(result["val_log_loss"])
    log.event("finished_trial", number=trial.number, val_log_loss=f"{loss:.4f}", **shown)
    return loss


def _reporter(trial: "optuna.Trial") -> Callable[[int, float], bool]:
    """What takes the val error after each epoch, and says whether to go on."""

    def report(epoch: int, val_error: float) -> bool:
        trial.report(val_error, epoch)
        return not trial.should_prune()

    return report


def _changed(composed: str, member: str, drawn: Mapping[str, Any]) -> str:
    """The text of the composed params with the drawn values in it."""
    values = yaml.safe_load(composed)
    for key, value in drawn.items():
        _space.put(values["models"][member], key, value)
    return yaml.safe_dump(values)


def _command(composed: str, member: str, drawn: Mapping[str, Any]) -> str:
    """The command that runs the pipeline with these params: recipe and every value that differs from it."""
    with tempfile.TemporaryDirectory(prefix="convoy-sweep-") as folder:
        file = Path(folder) / "params.yaml"
        file.write_text(_changed(composed, member, drawn), encoding="utf-8")
        return commands.reproduce(params.load(file).recipe, file, _CONF)[-1]


def _counts(study: "optuna.Study") -> dict[str, object]:
    """Trials by state, and the share of epochs that pruning saved."""
    states = [trial.state.name.lower() for trial in study.trials]
    epochs = [len(trial.intermediate_values) for trial in study.trials if trial.state.name != "FAIL"]
    counts: dict[str, object] = {state: states.count(state) for state in sorted(set(states))}
    with suppress(ValueError, ZeroDivisionError):
        counts["epochs_saved"] = f"{1 - sum(epochs) / (len(epochs) * max(epochs)):.0%}"
    return counts


if __name__ == "__main__":
    cli.main(search)
