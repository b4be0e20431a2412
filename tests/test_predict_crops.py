"""A network trained on patches predicts from the centre or from ten crops of the whole images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages.common.errors import LearnerError
from stages.common.files import read_json
from stages.data import crops
from stages.data.store import Reader
from stages.models import learners
from stages.models.learners import cnn
from stages.params import Predict
from stages.predict import predict
from stages.train import train
from tests.paths import ROOT

pytestmark = pytest.mark.slow

AUGMENT = yaml.safe_load((ROOT / "conf" / "augment" / "base.yaml").read_text(encoding="utf-8"))


def params(patch: list[int] | None) -> cnn.Params:
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["models"]["lenet"]
    values |= {"network": "shallownet", "code": "stages/models/networks/shallownet.py", "patch": patch}
    values |= {"augment": AUGMENT | {"zoom": 0.1, "cutmix": 1.0}}
    values["train"] |= {"epochs": 2, "batch_size": 10, "balanced": True, "seed": 1}
    return cnn.Params.model_validate(values)


def predicted(project: Any, model: Path, how: str) -> np.ndarray:
    """The test split's probabilities that the predict stage writes."""
    folder = project.root / f"predictions-{how}"
    predict("patchy", params=Predict(crops=how), model=model, data=project.packed, predictions=folder)
    with Reader(folder / "test.h5") as rows:
        return rows.read(0, len(rows))


def test_a_saved_patch_network_predicts_from_the_centre_and_from_ten_crops(
    packed: Any, tracked: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    train("patchy", params=params([12, 13]), recipe="test", data=packed.packed, model=model)
    spec, history = read_json(model / "spec.json"), read_json(model / "history.json")
    assert (spec["shape"], spec["patch"]) == ([16, 16, 3], [12, 13])
    assert len(history["data_wait_share"]) == 2
    assert all(0 <= share <= 1 for share in history["data_wait_share"])
    assert list((tracked / "mlruns").rglob("figures/augmented.png"))

    network = learners.load(model)
    with Reader(packed.packed / "test.h5") as rows:
        pixels = rows.read(0, len(rows))
    centre = network.predict_proba(np.ascontiguousarray(pixels[:, 2:14, 1:14]))
    np.testing.assert_allclose(predicted(packed, model, "center"), centre, atol=1e-6)
    views = [network.predict_proba(view) for view in crops.ten(pixels, (12, 13))]
    ten = predicted(packed, model, "ten")
    np.testing.assert_allclose(ten, np.mean(views, axis=0), atol=1e-6)
    assert not np.allclose(ten, centre, atol=1e-4)


def test_a_patch_larger_than_the_images_is_refused(packed: Any) -> None:
    with (
        Reader(packed.packed / "train.h5") as rows,
        pytest.raises(LearnerError, match=r"patch is 17x12; the images of .* are 16x16"),
    ):
        cnn.create(params([17, 12])).fit(rows, rows, lambda number, values: None)
