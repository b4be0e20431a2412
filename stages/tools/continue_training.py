"""continue_training: a finished network goes on with more epochs, or with another learning rate.

    python -m stages.tools.continue_training lenet --epochs 5 --learning-rate 0.001
    python -m stages.tools.continue_training lenet --epochs 5 --learning-rate 0.001 --from-epoch 10
    python -m stages.tools.continue_training lenet --epochs 5 --run lr-0.01

It copies the member of this workspace or of another run, or its checkpoint of an epoch (`train.save_epochs`),
into `datasets/` and runs the pipeline with `start_from`. All other params stay those of this workspace. The
history and the MLflow run of the result have both halves.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter, validators

from stages import cli, params
from stages.common import log
from stages.common.errors import ParamsError
from stages.common.files import digest, read_json, replace_folder_atomically
from stages.common.history import CHECKPOINTS
from stages.models import seen_images
from stages.models.learners import HISTORY
from stages.report.pages import commands
from stages.tools import _experiment, check

COPIES = Path("datasets/continued")
_MODEL = "model.keras"
_PARAMS = Path("params.yaml")


def continue_training(
    member: str,
    *,
    epochs: Annotated[int, Parameter(validator=validators.Number(gte=1))],
    learning_rate: Annotated[float, Parameter(validator=validators.Number(gt=0))] | None = None,
    from_epoch: int | None = None,
    run: str | None = None,
    set: list[str] | None = None,  # noqa: A002 (the option's name)
) -> None:
    """Train a finished network on, and run the stages after it.

    Args:
        member: A network of this workspace: a key of `models`.
        epochs: How many epochs to add.
        learning_rate: The rate to go on with, constant; none: the params' rate and schedule.
        from_epoch: Go on from the checkpoint of this epoch, with the optimizer's state; none: from the last
            weights, where the optimizer starts anew unless the last epoch has a checkpoint.
        run: Go on from the member of this run: a name of `dvc exp list --all`, or a commit; none: from the
            workspace's.
        set: KEY=VALUE, as -S of `dvc exp run`; may be repeated.

    Raises:
        ParamsError: When the member is no network, the run has none, or it has no such checkpoint, or a param
            is wrong.
        SourceError: When DVC cannot read the source.
        ConvoyError: When the run fails.
    """
    checked = params.load(_PARAMS)
    settings = checked.models.get(member)
    if settings is None or not hasattr(settings, "start_from"):
        networks = [name for name, model in checked.models.items() if hasattr(model, "start_from")]
        raise ParamsError(
            f"{member} is no network that is trained from scratch; params.yaml is of the recipe "
            f"{checked.recipe}, which has: {', '.join(networks) or 'none'}"
        )
    changes = {"train.epochs": str(epochs), "train.steps": "null"}
    if learning_rate is not None:
        changes |= {"optimizer.learning_rate": str(learning_rate), "optimizer.schedule": "constant"}
    start = f"models.{member}.start_from"
    replaced = (start, *(f"models.{member}.{key}" for key in changes))
    before = [
        change
        for change in commands.overrides(checked.recipe, _PARAMS, Path("conf"))
        if not change.lstrip("+~").startswith(replaced)
    ]
    after = [f"models.{member}.{key}={value}" for key, value in changes.items()]
    # Without `start_from`: a wrong word leaves no copy behind.
    check.load_checked([f"recipe={checked.recipe}", *before, *after, *(set or [])])
    with _folder(member, run) as folder:
        origin = _copied(folder, from_epoch)
    _experiment.run([f"recipe={checked.recipe}", *before, f"{start}={origin}", *after, *(set or [])])


@contextmanager
def _folder(member: str, run: str | None) -> Iterator[Path]:
    """The member's folder in the workspace, or a temporary copy of what a run has made, from DVC's cache."""
    folder = Path("models") / member
    if run is None:
        yield folder
        return
    with TemporaryDirectory() as aside:
        copy = Path(aside) / member
        # The other forms of these words would be options or another repository.
        words = ["dvc", "get", f"--rev={run}", f"--out={copy}", "--", ".", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = done.stderr.strip().removeprefix("ERROR: ").splitlines()[:1]
            raise ParamsError(f"run {run} has no {folder} in DVC's cache: {' '.join(reason)}")
        yield copy


def _copied(folder: Path, epoch: int | None) -> str:
    """Copy what to start from out of DVC's reach; returns `start_from` in Hydra's grammar."""
    model, history = folder / _MODEL, folder / HISTORY
    if not model.exists():
        raise ParamsError(f"{model} does not exist; run the pipeline first, or `make replay RUN=NAME`")
    number = "*" if epoch is None else f"{epoch:03d}"
    checkpoints = sorted((folder / CHECKPOINTS).glob(f"epoch-{number}-*.npz"))
    if epoch is not None and not checkpoints:
        names = ", ".join(sorted(path.name for path in (folder / CHECKPOINTS).glob("*.npz"))) or "none"
        raise ParamsError(
            f"{folder} has no checkpoint of epoch {epoch}; it has: {names}; train.save_epochs keeps them"
        )
    if checkpoints and (epoch is not None or _of_last_epoch(checkpoints[-1], history)):
        source, key = checkpoints[-1], "checkpoint"
    else:
        source, key = model, "member"
    sha256 = digest(source)
    target = COPIES / f"{folder.name}-{sha256[:12]}"
    with replace_folder_atomically(target, (_MODEL, HISTORY, seen_images.FILE, "epoch-*.npz")) as partial:
        shutil.copy(source, partial)
        if (images := folder / seen_images.FILE).exists():
            # Of a member of an older version, `train` says what is missing.
            shutil.copy(images, partial)
        if key == "member":
            shutil.copy(history, partial)
    path = target / source.name if key == "checkpoint" else target
    log.event("copied_origin", source=source, to=target)
    return f"{{{key}:'{path}',sha256:'{sha256}'}}"


def _of_last_epoch(checkpoint: Path, history: Path) -> bool:
    return int(checkpoint.name.split("-")[1]) == int(read_json(history)["epoch"][-1])


if __name__ == "__main__":
    cli.main(continue_training)
