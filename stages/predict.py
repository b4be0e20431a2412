"""predict: one member → its class probabilities on the val and the test split."""

from pathlib import Path

import numpy as np

from stages import cli, learners, log
from stages.data import store
from stages.data.manifest import HELD_OUT
from stages.files import replacing


@cli.stage()
def predict(name: str, *, model: Path, data: Path, predictions: Path) -> None:
    """Write val.h5 and test.h5 with `probabilities` float32 (N, K), labels and ids in packed order."""
    learner = learners.load(model)
    with replacing(predictions) as folder:
        folder.mkdir()
        for split in HELD_OUT:
            with store.Reader(data / f"{split}.h5") as rows:
                _predict_split(folder / f"{split}.h5", learner, rows, name)
            log.event("predicted", split=split, pictures=len(rows))


def _predict_split(path: Path, learner: learners.Learner, rows: store.Reader, name: str) -> None:
    classes = rows.provenance["classes"]
    provenance = {"member": name, "classes": classes, "manifest": rows.provenance["manifest"]}
    shape = (len(rows), len(classes))
    with (
        store.create(path, "probabilities", shape, np.float32, ids=rows.ids, provenance=provenance) as out,
        log.Progress(f"predicting {path.stem}", total=len(rows), unit="picture") as progress,
    ):
        start = 0
        for batch in rows.batches(learners.BATCH):
            out.write(start, learner.predict_proba(batch))
            start += len(batch)
            progress.advance(len(batch))
        out.columns["labels"] = rows.column("labels")


if __name__ == "__main__":
    cli.main(predict)
