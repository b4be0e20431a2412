"""No stage and no server loads what it does not use: a scikit-learn member never loads TensorFlow."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.models import learners
from stages.models.learners import logistic_regression
from tests.paths import ROOT

# scikit-learn loads the others.
SKLEARN = ["pandas", "scipy", "sklearn"]
LOADED = """
import sys
def report():
    heavy = {"keras", "tensorflow", "mlflow", "sklearn", "matplotlib", "pandas", "scipy"}
    print(*sorted(heavy & set(sys.modules)))
"""
TRAIN = """
from pathlib import Path
from stages import params
from stages.models.learners import create
from stages.data import store
member = params.load(Path(sys.argv[1])).models["logistic"]
learner = create(member)
features, folder = Path(sys.argv[2]), Path(sys.argv[3])
with store.Reader(features / "train.h5") as rows, store.Reader(features / "val.h5") as val:
    learner.fit(rows, val, lambda *_: None)
learner.save(folder)
report()
"""
PREDICT = """
from pathlib import Path
from stages.params import Predict
from stages.predict import predict
from stages.data import store
features, folder, out = map(Path, sys.argv[1:])
predict("logistic", params=Predict(crops="center"), model=folder, data=features, predictions=out)
report()
"""
SERVE = """
from pathlib import Path
from stages.serving import bundle
from stages.serving.classifier import Classifier
folder, place, image = map(Path, sys.argv[1:])
bundle.write(place, {"logistic": folder}, {"logistic": 1.0}, "center")
print(Classifier(place)([image], views="center", max_pixels=10**6).shape, file=sys.stderr)
report()
"""
NETWORK = """
import numpy as np
from pathlib import Path
from stages.models import learners, networks
from stages.models.learners.cnn import Network
folder = Path(sys.argv[1])
model = networks.build("lenet", (16, 16, 1), classes=2, statistics=None)
Network(model, None).save(folder)
learners.load(folder).predict_proba(np.zeros((2, 16, 16, 1), np.uint8))
report()
"""


def loaded(script: str, *words: Path) -> list[str]:
    """The heavy packages that a process has loaded after a script."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED + script, *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_a_classifier_never_loads_tensorflow(packed: Any, features: Path, tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    member = values["models"]["hog_logistic"] | {"input": "features/pixels", "c": [0.1, 1.0]}
    values["extractors"] = {"pixels": {"kind": "pixels"}}
    # The network's options are checked too, by code that must not load Keras.
    values["models"] = {"logistic": member, "lenet": values["models"]["lenet"]}
    values["ensemble"]["members"] = ["logistic"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    folder = tmp_path / "member"
    folder.mkdir()
    assert loaded(TRAIN, tmp_path / "params.yaml", features, folder) == SKLEARN

    from stages.data import store

    params = logistic_regression.Params.model_validate(member)
    with store.Reader(features / "train.h5") as rows:
        spec = {
            "name": "logistic",
            "kind": params.kind,
            "input": params.input,
            "shape": list(rows.shape[1:]),
            "dtype": str(rows.dtype),
            "patch": None,
            "provenance": {key: value for key, value in rows.provenance.items() if key != "split"},
        }
    (folder / learners.SPEC).write_text(json.dumps(spec), encoding="utf-8")
    assert loaded(PREDICT, features, folder, tmp_path / "predictions") == SKLEARN
    image = next(packed.source.rglob("*.png"))
    assert loaded(SERVE, folder, tmp_path / "bundle", image) == SKLEARN


@pytest.mark.slow
def test_a_network_loads_keras_without_its_optional_packages(tmp_path: Path) -> None:
    (tmp_path / learners.SPEC).write_text(json.dumps({"kind": "cnn"}), encoding="utf-8")
    assert loaded(NETWORK, tmp_path) == ["keras", "tensorflow"]


@pytest.mark.slow
def test_optional_packages_are_imported_as_usual_after_keras() -> None:
    script = """
from stages.common.keras_import import import_keras
import_keras()
import matplotlib.pyplot, pandas, scipy.stats, sklearn
report()
"""
    assert loaded(script) == ["keras", "matplotlib", *SKLEARN, "tensorflow"]


def test_scores_groups_without_pairs_and_the_servers_address_load_nothing_heavy() -> None:
    script = """
import numpy as np
from stages import tracking
from stages.data import similarity
from stages.scoring import metrics
from stages.scoring.predictions import Predictions
ids, labels = np.array(["a", "b"]), np.array([0, 1])
metrics.score(Predictions(ids, labels, np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)), bins=15)
assert similarity.groups(2, []).tolist() == [0, 1]
tracking.export_address()
report()
"""
    assert loaded(script) == []
