"""train: packed images or features → one fitted member, tracked."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stages import cli, tracking
from stages.common import fingerprint, launcher, log, ranks
from stages.common.files import read_json, replace_folder_atomically, write_json
from stages.common.history import CHECKPOINTS, History
from stages.common.keras_import import chosen_backend
from stages.data import image_set, store
from stages.data.image_set import ImageSet
from stages.models import environment, learners, seen_images
from stages.models.learners import FIT, HISTORY, SPEC
from stages.models.protocols import Learner, LearnerParams, Resumable
from stages.models.training import checkpoints, monitor
from stages.report.figures import augmented, fitted
from stages.serving import bundle, logged
from stages.tracking import cost

# All files of a member's folder. Learners save into `model.*`; former versions wrote diagnosis.json.
_WRITTEN = (
    "model.*",
    SPEC,
    HISTORY,
    FIT,
    seen_images.FILE,
    monitor.CURVES,
    f"{CHECKPOINTS}/*.npz",
    "diagnosis.json",
    tracking.LINK,
    f"{tracking.FOLDER}/*",
)


@cli.command(params="models.{name}", recipe="recipe")
def train(name: str, *, params: LearnerParams, recipe: str, data: Path, model: Path) -> None:
    """Fit one member on the train split and measure it on the val split; no image of the test split is read.

    A network's training that was killed resumes from its last checkpoint, in the same MLflow run. A network
    is trained on all devices, and by CONVOY_PROCESSES processes of this host or by those that Keras'
    KERAS_DISTRIBUTION_… variables name; rank 0 writes.

    Args:
        name: The member's name, a key of `models`.
        params: Its params, `models.NAME`.
        recipe: The recipe's name, which is the MLflow experiment's.
        data: Folder of train.h5 and val.h5: images uint8 (N, H, W, C) or features float32 (N, D).
        model: Folder to write: the fitted learner, spec.json (its kind and input), history.json, of a
            network learning_curves.png and fit.json (scores of the saved weights on val and on samples of
            train and of train-val, where there is train_val.h5), seen.bin (the images it has seen), and
            run.json (the MLflow run, which later stages link to even when this stage is cached).
            With train.save_epochs also checkpoints: one file for each epoch to keep.

    Raises:
        StoreError: A file of `data` is missing or damaged.
        LearnerError: The data do not suit the params, or the loss is not a number.
        ParamsError: The training that is continued has seen images of the test split, or does not say.
        LockedError: Another process is training the same.
        TrainingInterruptedError: SIGTERM came; the same command resumes.
        LostRankError: Another process of this training is gone; the same command resumes.
    """
    launcher.relaunch()
    origin = getattr(params, "start_from", None)
    seen = seen_images.of_training(data, origin and origin.file)
    place = ranks.read()
    if place.count > 1:
        log.name_rank(place.rank)
    if place.rank:
        _assist(name, params, data)
    else:
        _train(name, params, recipe, data, model, seen)


def _assist(name: str, params: LearnerParams, data: Path) -> None:
    """Compute a rank's share of a network's training, and write nothing."""
    learner = learners.create(params)
    if not isinstance(learner, Resumable):
        # Rank 0 fits it alone.
        return
    with store.Reader(data / "train.h5") as rows, store.Reader(data / "val.h5") as val:
        learner.checkpoints = checkpoints.path_of(name, _identity(params, rows))
        learner.fit(rows, val, lambda *_: None)


def _train(name: str, params: LearnerParams, recipe: str, data: Path, model: Path, seen: ImageSet) -> None:
    """Fit a member, by itself or as rank 0 of several processes, and write and log all there is of it."""
    with (
        store.Reader(data / "train.h5") as rows,
        store.Reader(data / "val.h5") as val,
        checkpoints.reserved(name, _identity(params, rows)) as attempt,
        replace_folder_atomically(model, _WRITTEN) as folder,
        _tracked(name, recipe, rows, attempt, folder) as run,
    ):
        run.params(params.model_dump())
        run.dataset(rows.provenance["manifest"], "train", {"train": len(rows), "val": len(val)})
        learner = learners.create(params)
        if resumable := isinstance(learner, Resumable):
            learner.checkpoints, learner.draw_curves = attempt, _draw_curves
            # Before an hour of training: a wrong network shows in its layers (Starter Bundle ch. 19).
            learner.on_built = partial(_track_built, run, attempt, params, rows)
        with _curves_of_failures(attempt, run), cost.measured(run, attempt, resumable) as on_epoch:
            history = learner.fit(rows, val, on_epoch)
        learner.save(folder)
        write_json(folder / SPEC, _spec(name, params, rows))
        write_json(folder / HISTORY, history)
        image_set.write(folder / seen_images.FILE, seen)
        if (drawn := attempt / monitor.CURVES).exists():
            shutil.move(drawn, folder / monitor.CURVES)
        if (saved := attempt / CHECKPOINTS).exists():
            # Not moved: a worker that is killed before DVC has taken the outputs needs them again.
            # A killed training may have left an unfinished file, whose name begins with a dot.
            shutil.copytree(saved, folder / CHECKPOINTS, ignore=shutil.ignore_patterns(".*"))
        scores = {"val": fitted.log_val(run, learner, history, val)}
        log.event("trained_member", val_accuracy=f"{scores['val']['accuracy']:.4f}", run=run.link["run_id"])
        if "phase" in history:
            scores |= fitted.log_samples(run, learner, rows, data / "train_val.h5")
            write_json(folder / FIT, {"epoch": fitted.delivered_epoch(params, history), **scores})
        run.history(history)
        if not resumable:
            _track_built(run, attempt, params, rows, learner)
        run.model(partial(_save_served, name, folder))


def _identity(params: LearnerParams, rows: store.Reader) -> dict[str, Any]:
    """All that a training follows from; a checkpoint is valid for the same identity only."""
    code = Path(params.code)
    plugins = {f"stages.models.{code.parent.name}": (code.stem,), learners.__name__: (params.kind,)}
    return {
        "params": params.model_dump(mode="json"),
        "data": rows.provenance,
        "code": fingerprint.code("stages.train", plugins),
        "keras": [version("keras"), chosen_backend()],
        **environment.variables(),
    }


@contextmanager
def _tracked(
    name: str, recipe: str, rows: store.Reader, attempt: Path, folder: Path
) -> Iterator[tracking.Run]:
    """Open the MLflow run of a training, or that of an earlier attempt at it, which was killed.

    The record's id is on disk before MLflow has a run: an attempt that is killed between the two would leave
    a run of its own.
    """
    link = attempt / tracking.LINK
    earlier = _earlier_record(link)
    record = earlier or uuid.uuid4().hex
    if earlier is None:
        write_json(link, {"record": record})
    tags = _tags(name, rows)
    with tracking.run(recipe, name, tags, keep=folder, identity=record, resume=earlier is not None) as run:
        write_json(link, run.link)
        yield run


def _earlier_record(link: Path) -> str | None:
    """The record's id of an earlier attempt; None where there is none, or a power cut has left no JSON."""
    try:
        return str(read_json(link)["record"])
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def _curves_of_failures(attempt: Path, run: tracking.Run) -> Iterator[None]:
    """Log the monitor's files of a training that fails."""
    try:
        yield
    except Exception:
        # Of every failure: the curves show why a loss diverged, and how far any other training was.
        for name in (monitor.CURVES, monitor.SERIES):
            if (path := attempt / name).exists():
                run.file(path)
        raise


def _draw_curves(history: History, path: Path) -> None:
    """Draw the history of a running training into a PNG file."""
    from stages.report.figures import charts

    charts.history(history).savefig(path, format="png")


def _tags(name: str, rows: store.Reader) -> dict[str, str]:
    return {"stage": f"train@{name}", "member": name, "manifest": rows.provenance["manifest"]}


def _spec(name: str, params: LearnerParams, rows: store.Reader) -> dict[str, object]:
    return {
        "name": name,
        "kind": params.kind,
        "input": params.input,
        "shape": list(rows.shape[1:]),
        "dtype": str(rows.dtype),
        "patch": getattr(params, "patch", None),
        "provenance": {key: value for key, value in rows.provenance.items() if key != "split"},
    }


def _save_served(name: str, member: Path, path: Path) -> None:
    """Save the member as a model that takes raw images."""
    with bundle.temporary({name: member}, {name: 1.0}, crops="center") as folder:
        logged.save(folder, path)


def _track_built(
    run: tracking.Run, attempt: Path, params: LearnerParams, rows: store.Reader, learner: Learner
) -> None:
    """Log augmented images and the layers, and leave these in the checkpoints' folder while a network trains.

    Not before the network is built: a patch that is larger than the images is refused then, and cannot be
    drawn.
    """
    if augment := getattr(params, "augment", None):
        run.figure(augmented.sheet(rows, augment, getattr(params, "patch", None)), "augmented.png")
    for path in learner.describe(attempt):
        run.file(path, "architecture")


if __name__ == "__main__":
    cli.main(train)
