"""predict: one member → its class probabilities on the val and the test split."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import cli
from stages.common import executor as executors
from stages.common import log
from stages.common.executor import LOCAL, Executor
from stages.common.files import replace_folder_atomically
from stages.data import portions, store
from stages.data.manifest import HELD_OUT
from stages.models import learners, predicting
from stages.params import Predict


@cli.command(params="predict")
def predict(name: str, *, params: Predict, model: Path, data: Path, predictions: Path) -> None:
    """Classify the val and test splits by one member.

    The probabilities of ten crops are averaged. A member without a patch sees the whole image, once. With
    CONVOY_DASK, workers compute them.

    Args:
        name: The member.
        params: What a member trained on patches sees of an image.
        model: The folder that `train` wrote.
        data: The folder of the packed images, or of the features that the member reads.
        predictions: The folder to write: val.h5 and test.h5 with `probabilities` float32 (N, K), `labels` and
            ids, in packed order.

    Raises:
        LearnerError: The folder holds no member of this version.
        StoreError: The images or features are missing or damaged.
        WorkerError: A worker has other code, packages or another processor.
    """
    spec = learners.read_spec(model)
    patch = spec.get("patch") if params.crops == "ten" else None
    with (
        executors.opened(predicting.follows_from, spec["kind"]) as executor,
        replace_folder_atomically(predictions, [f"{split}.h5" for split in HELD_OUT]) as folder,
    ):
        work = predicting.Predictor(executor, model, patch)
        for split in HELD_OUT:
            with store.Reader(data / f"{split}.h5") as rows:
                count = write_probabilities(folder / f"{split}.h5", rows, work, name, executor)
            log.event("predicted_split", split=split, images=count)


def write_probabilities(
    path: Path,
    rows: store.Reader,
    work: Callable[[NDArray[Any]], NDArray[np.float32]],
    name: str,
    executor: Executor = LOCAL,
) -> int:
    """Write the predictions of one split.

    Args:
        path: The HDF5 file to write.
        rows: The images or features.
        work: Computes class probabilities (n, K) of n rows.
        name: The member.
        executor: What `work` makes its calls by.

    Returns:
        The number of images.
    """
    classes = rows.provenance["classes"]
    provenance = {"member": name, "classes": classes, "manifest": rows.provenance["manifest"]}
    shape = (len(rows), len(classes))
    with (
        store.create(path, "probabilities", shape, np.float32, ids=rows.ids, provenance=provenance) as out,
        log.Progress(f"predicting {path.stem}", total=len(rows), unit="image") as progress,
    ):
        start = 0
        for probabilities in portions.mapped(work, rows, executor):
            out.write(start, probabilities)
            start += len(probabilities)
            progress.advance(len(probabilities))
        out.columns["labels"] = rows.column("labels")
    return start


if __name__ == "__main__":
    cli.main(predict)
