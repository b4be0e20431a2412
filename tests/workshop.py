"""A project of one member, trained as badly as a test asks, whose challengers are promoted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient

from stages.common.files import read_json, write_json
from stages.data.manifest import Manifest
from stages.ensemble import ensemble
from stages.extract import extract
from stages.models.extractors import pixels
from stages.models.learners import logistic_regression
from stages.params import Ensemble, Predict
from stages.predict import predict
from stages.promote import promote
from stages.scoring import metrics
from stages.scoring.predictions import Predictions
from stages.scoring.promotion import Promote
from stages.train import train
from tests.paths import ROOT

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
CLASSES = [f"class{number}" for number in range(4)]
RULES = PARAMS["promote"] | {"metric": "log_loss", "recall_drop": 1.0, "min_images": 50}


@dataclass
class Workshop:
    """A project with noisy classes, and members that are more or less regularized."""

    project: Any
    root: Path

    def make(self, c: float) -> None:
        """Train, predict, average and score the one member; a smaller `c` regularizes it more."""
        values = PARAMS["models"]["hog_logistic"] | {"input": "features/pixels", "c": [c]}
        params = logistic_regression.Params.model_validate(values)
        data, model = self.root / "features" / "pixels", self.root / "models" / "only"
        train("only", params=params, recipe="shop", data=data, model=model)
        folder = self.root / "predictions" / "only"
        predict("only", params=Predict(crops="center"), model=model, data=data, predictions=folder)
        ensemble(
            Ensemble(members=["only"], weights="uniform"),
            predictions=self.root / "predictions",
            ensemble=self.root / "ensemble",
        )
        write_json(self.root / "drift.json", {"verdict": "pass"})
        scores = metrics.score(Predictions.read(folder / "test.h5"), bins=10)
        write_json(self.root / "metrics.json", {"only": scores, "ensemble": scores})

    def split(self, **changes: Any) -> None:
        """Ingest and pack, with the splits as `changes` say."""
        self.project.ingest(**{"near_duplicates": {"distance": None}, "test_fraction": 0.5} | changes)
        self.project.resize(size=[8, 8])
        self.project.mean()
        self.project.pack()
        folder = self.root / "features" / "pixels"
        extract("pixels", params=pixels.Params(kind="pixels"), packed=self.project.packed, features=folder)

    def promote(self, **changes: Any) -> dict[str, Any]:
        """The verdict; the page is beside it."""
        promote(
            Promote.model_validate(RULES | changes),
            {"only": object()},  # type: ignore[dict-item]  # only its name is asked for
            Predict(crops="center"),
            "shop",
            source=self.project.source,
            **self.paths(),
        )
        return self.verdict()

    def paths(self) -> dict[str, Path]:
        """The stage's options."""
        names = ("drift.json", "metrics.json", "models", "predictions", "ensemble")
        paths = {name.partition(".")[0]: self.root / name for name in names}
        paths |= {"manifest": self.project.manifest, "blob": self.project.blob}
        return paths | {"verdict": self.root / "promotion.json", "page": self.root / "promotion.html"}

    def verdict(self) -> dict[str, Any]:
        verdict: dict[str, Any] = read_json(self.root / "promotion.json")
        return verdict

    def page(self) -> str:
        return (self.root / "promotion.html").read_text(encoding="utf-8")

    def ids(self, split: str) -> set[str]:
        """The images of a split."""
        table = Manifest.read(self.project.manifest)
        return set(table.strings("id")[table.strings("split") == split].tolist())


def champion() -> str:
    return str(MlflowClient().get_model_version_by_alias("shop", "champion").version)


def bundle_of(version: str) -> Path:
    return Path(MlflowClient().get_model_version_download_uri("shop", version).removeprefix("file://"))


def tags(version: str) -> dict[str, str]:
    return dict(MlflowClient().get_model_version("shop", version).tags)


def experiments() -> list[str]:
    return [experiment.experiment_id for experiment in MlflowClient().search_experiments()]
