"""A small project in a folder of its own, brought as far through the data stages as a test asks."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.audit import audit
from stages.data.sources import SourceParams, folder
from stages.ingest import ingest
from stages.mean import mean
from stages.pack import pack
from stages.params import Audit, Drift, Ingest, Pack, Resize
from stages.resize import resize

# A reference profile of no images.
NO_REFERENCE = Path(__file__).parents[1] / "conf" / "no_reference.json"
# Images of each class on the data report.
SAMPLES = 3

Images = Callable[..., Path]


@dataclass(frozen=True)
class Project:
    """Where the data stages of one project put what they make, and the stages themselves."""

    root: Path
    source: Path

    @property
    def manifest(self) -> Path:
        return self.root / "data" / "manifest.parquet"

    @property
    def classes(self) -> Path:
        return self.root / "data" / "classes.json"

    @property
    def rejects(self) -> Path:
        return self.root / "data" / "rejects.csv"

    @property
    def near_duplicates(self) -> Path:
        return self.root / "data" / "near_duplicates.csv"

    @property
    def blob(self) -> Path:
        return self.root / "data" / "images.zip"

    @property
    def resized(self) -> Path:
        return self.root / "data" / "resized.h5"

    @property
    def stats(self) -> Path:
        return self.root / "data" / "stats.json"

    @property
    def packed(self) -> Path:
        return self.root / "data" / "packed"

    def ingest(self, source: SourceParams | None = None, ahead: Resize | None = None, **params: Any) -> None:
        values: dict[str, Any] = {
            "max_pixels": 1_000_000,
            "damaged": "reject",
            "verify": "changed",
            "split": "content",
            "val_fraction": 0.2,
            "test_fraction": 0.2,
            "train_val_fraction": 0.0,
            "max_reject_fraction": 0.0,
            "near_duplicates": {"distance": 4},
            "seed": 1,
        } | params
        ingest(
            Ingest(source=source or folder.Params(kind="folder", path=self.source), **values),
            ahead,
            SAMPLES if ahead else 0,
            manifest=self.manifest,
            classes=self.classes,
            rejects=self.rejects,
            near_duplicates=self.near_duplicates,
            blob=self.blob,
        )

    def audit(self, **drift: Any) -> Path:
        """The page; `data/profile.json` and `reports/drift.json` lie where the pipeline has them."""
        page = self.root / "reports" / "data.html"
        audit(
            Audit(
                samples=SAMPLES,
                drift=Drift(
                    **{"reference": NO_REFERENCE, "false_alarms": 0.01, "warn": 0.1, "stop": 0.5} | drift
                ),
            ),
            manifest=self.manifest,
            rejects=self.rejects,
            near_duplicates=self.near_duplicates,
            source=self.source,
            blob=self.blob,
            page=page,
            profile=self.root / "data" / "profile.json",
            drift=page.with_name("drift.json"),
        )
        return page

    def resize(self, **params: Any) -> None:
        values: dict[str, Any] = {
            "size": [16, 16],
            "keep_aspect": True,
            "color": "rgb",
            "quality": "exact",
        } | params
        paths = {"manifest": self.manifest, "source": self.source, "blob": self.blob}
        resize(Resize(**values), **paths, resized=self.resized)

    def mean(self) -> None:
        mean(manifest=self.manifest, resized=self.resized, stats=self.stats)

    def pack(self, **params: Any) -> None:
        paths = {"manifest": self.manifest, "classes": self.classes, "stats": self.stats}
        values: dict[str, Any] = {"seed": 1} | params
        pack(Pack(**values), **paths, resized=self.resized, packed=self.packed)


def write_images(
    root: Path,
    classes: Mapping[str, int],
    *,
    size: tuple[int, int] = (20, 24),
    seed: int = 0,
    noise: float = 12,
) -> Path:
    """Write `root`/CLASS/NUMBER.png: noise around a colour of the class, so that a model can learn them.

    `size` is (height, width); `classes` says how many images each class has; `noise` is its deviation.
    """
    for name, count in classes.items():
        draw = np.random.default_rng([seed, *name.encode()])
        (root / name).mkdir(parents=True, exist_ok=True)
        colour = draw.integers(40, 216, 3)
        for number in range(count):
            pixels = np.clip(colour + draw.normal(0, noise, (*size, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:03d}.png")
    return root


def visible(project: Project) -> dict[str, str]:
    """Every file that another stage could take for a result, with its digest."""
    files = (path for path in sorted(project.root.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(project.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(project.root).parts)
    }
