"""predict: one member → its class probabilities on the val and the test split."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages import cli, learners, log
from stages.data import crops, store
from stages.data.crops import Patch, Pixels
from stages.data.manifest import HELD_OUT
from stages.files import read_json, replacing
from stages.params import Predict


@cli.stage(params="predict")
def predict(name: str, *, params: Predict, model: Path, data: Path, predictions: Path) -> None:
    """Write val.h5 and test.h5 with `probabilities` float32 (N, K), labels and ids in packed order.

    Of ten crops the probabilities are averaged; members without a patch see the whole picture, once.
    """
    learner = learners.load(model)
    patch = read_json(model / learners.SPEC).get("patch") if params.crops == "ten" else None
    with replacing(predictions) as folder:
        folder.mkdir()
        for split in HELD_OUT:
            with store.Reader(data / f"{split}.h5") as rows:
                _predict_split(folder / f"{split}.h5", learner, rows, name, patch)
            log.event("predicted", split=split, pictures=len(rows))


def _predict_split(
    path: Path, learner: learners.Learner, rows: store.Reader, name: str, patch: Patch | None
) -> None:
    classes = rows.provenance["classes"]
    provenance = {"member": name, "classes": classes, "manifest": rows.provenance["manifest"]}
    shape = (len(rows), len(classes))
    with (
        store.create(path, "probabilities", shape, np.float32, ids=rows.ids, provenance=provenance) as out,
        log.Progress(f"predicting {path.stem}", total=len(rows), unit="picture") as progress,
    ):
        start = 0
        for batch in rows.batches(learners.BATCH):
            out.write(start, _ten_crops(learner, batch, patch) if patch else learner.predict_proba(batch))
            start += len(batch)
            progress.advance(len(batch))
        out.columns["labels"] = rows.column("labels")


def _ten_crops(learner: learners.Learner, pixels: Pixels, patch: Patch) -> NDArray[np.float32]:
    """The mean over crops, one crop of all pictures at a time: ten at once take ten times the memory."""
    found = [learner.predict_proba(crop) for crop in crops.ten(pixels, patch)]
    return np.asarray(np.mean(found, axis=0), np.float32)


if __name__ == "__main__":
    cli.main(predict)
