"""A run of members whose predictions are made up, brought to the pages that it leaves."""

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stages import promote
from stages.common.files import read_json, write_json
from stages.data import store
from stages.data.manifest import HELD_OUT, Manifest, Row
from stages.ensemble import ensemble
from stages.evaluate import evaluate
from stages.models.protocols import LearnerParams
from stages.params import Ensemble, Evaluate
from stages.report.pages import flipped
from stages.scoring import gate
from stages.scoring.books import Book
from stages.scoring.promotion import Promote
from stages.scoring.served import Served, aligned
from stages.serving import comparisons
from stages.serving.registry import Version
from stages.summarize import summarize
from tests.paths import ROOT
from tests.project import Project

CURVES = {
    "epoch": [1.0, 2.0, 3.0],
    "loss": [0.9, 0.5, 0.3],
    "val_loss": [1.0, 0.6, 0.5],
    "accuracy": [0.5, 0.8, 0.9],
    "val_accuracy": [0.4, 0.7, 0.8],
    "learning_rate": [0.1, 0.1, 0.05],
}
SEARCH = {"c": [0.1, 1.0, 10.0], "cv_log_loss": [0.7, 0.4, 0.5]}


class Run:
    """A project whose members' predictions are made up, brought to its pages; `members`: how often right."""

    def __init__(self, project: Project, members: Mapping[str, float]) -> None:
        self.project, self.root = project, project.root
        self.params = self.root / "params.yaml"
        self.params.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
        self.book = Book()
        project.audit()
        self.classes: list[str] = read_json(project.classes)
        for number, (name, share) in enumerate(members.items()):
            self._member(name, share, np.random.default_rng(number), SEARCH if number == 1 else CURVES)
        predictions, average = self.root / "predictions", self.root / "ensemble"
        ensemble(
            Ensemble(members=list(members), weights="uniform"), predictions=predictions, ensemble=average
        )
        evaluate(
            Evaluate(calibration_bins=10),
            {name: LearnerParams(kind="x", input="x", code="x") for name in members},
            "digits",
            manifest=project.manifest,
            classes=project.classes,
            packed=project.packed,
            models=self.root / "models",
            predictions=predictions,
            ensemble=average,
            report=self.root / "reports",
            plots=self.root / "plots",
        )
        self.promote(next(iter(members)))

    def copied(self, root: Path) -> "Run":
        """The same run in a new folder, to be changed; the source stays where it is."""
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns("source"))
        run = copy.copy(self)
        run.project, run.root = Project(root, self.project.source), root
        run.params = root / "params.yaml"
        return run

    def _member(self, name: str, share: float, draw: np.random.Generator, history: Any) -> None:
        table, count = Manifest.read(self.project.manifest), len(self.classes)
        labels = table.labels(self.classes)
        for split in HELD_OUT:
            ids = table.strings("id")[table.strings("split") == split]
            actual = np.array([labels[identity] for identity in ids.tolist()])
            wrong = draw.random(len(ids)) > share
            predicted = np.where(wrong, draw.integers(0, count, len(ids)), actual)
            probabilities = draw.random((len(ids), count)) * 0.3 / count
            probabilities[np.arange(len(ids)), predicted] += draw.uniform(0.3, 2, len(ids))
            probabilities /= probabilities.sum(axis=1, keepdims=True)
            path = self.root / "predictions" / name / f"{split}.h5"
            provenance = {"manifest": "m", "classes": self.classes}
            with store.create(
                path, "probabilities", probabilities.shape, np.float32, ids=ids, provenance=provenance
            ) as out:
                out.write(0, probabilities.astype(np.float32))
                out.columns["labels"] = actual
        folder = self.root / "models" / name
        write_json(folder / "history.json", history)
        write_json(folder / "run.json", {"run_id": f"run-of-{name}", "experiment": "digits"})
        write_json(folder / "spec.json", {"kind": "cnn", "input": "data/packed", "shape": [16, 16, 3]})

    def promote(self, challenger: str, champion: str | None = None) -> None:
        """Judge two members' made-up predictions and leave the verdict and its page as the stage does."""
        table = Manifest.read(self.project.manifest)
        rows = [row for row in table.rows() if row.split == "test"]
        before = self._served(champion, rows) if champion else None
        after = self._served(challenger, rows)
        params = Promote.model_validate(yaml.safe_load(self.params.read_text(encoding="utf-8"))["promote"])
        verdict = gate.judge(params, after, before, "pass", decision=2 if champion else 1)
        version = Version("1", "models:/digits/1", {}) if champion else None
        flips = flipped.between(rows, before, after) if before else flipped.NONE
        decision = "promoted" if verdict.holds else "kept"
        comparison = comparisons.Comparison(version, rows, 2 if champion else 1, before, after, verdict)
        facts = comparison.facts(decision, params.level) | {
            "model": "digits",
            "test_images": len(rows),
            "challenger": {"name": challenger, "uri": "models:/digits/2"} | after.figures(),
        }
        reports, project = self.root / "reports", self.project
        write_json(reports / "promotion.json", facts)
        promote.write_page(reports / "promotion.html", facts, flips, rows, project.source, project.blob)

    def _served(self, member: str, rows: list[Row]) -> Served:
        with store.Reader(self.root / "predictions" / member / "test.h5") as reader:
            place = {identity: number for number, identity in enumerate(reader.ids.tolist())}
            probabilities = reader.read(0, len(reader))[[place[row.id] for row in rows]]
        ids, labels = np.asarray([row.id for row in rows]), [row.label for row in rows]
        return Served(*aligned(ids, labels, self.classes, probabilities), (1.5, 1.6, 1.7), 1_000_000)

    def summarize(self) -> Path:
        """The page."""
        summarize(
            "digits",
            self.book,
            Evaluate(calibration_bins=10),
            data=self.root / "data",
            models=self.root / "models",
            predictions=self.root / "predictions",
            ensemble=self.root / "ensemble",
            report=self.root / "reports",
            conf=ROOT / "conf",
            composed=self.params,
        )
        page: Path = self.root / "reports" / "index.html"
        return page
