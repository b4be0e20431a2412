"""The pipeline's own data stages on a folder of images, with the arguments that dvc.yaml gives them."""

import importlib
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import yaml

from benchmarks import images
from stages import params
from stages.cli import Command
from stages.common.files import remove
from stages.data import results_store
from stages.data.manifest import Manifest, Row
from stages.data.sizing import Quality
from stages.params import Params

EXTRACTOR = "pixels"


@dataclass(frozen=True)
class Pipeline:
    """One source of images and the folder `root` that its stages write below."""

    source: Path
    root: Path
    params: Params

    @classmethod
    def create(cls, source: Path, root: Path, size: int, quality: Quality = "exact") -> Self:
        """The project's own params, but for the source, size² RGB and one extractor."""
        values: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
        # Files that are no images are left out, however many.
        values["ingest"].update(source={"kind": "folder", "path": str(source)}, max_reject_fraction=1.0)
        values["resize"].update(size=[size, size], keep_aspect=True, color="rgb", quality=quality)
        values["extractors"][EXTRACTOR] = {"kind": EXTRACTOR}
        root.mkdir(parents=True, exist_ok=True)
        (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        return cls(source, root, params.load(root / "params.yaml"))

    @classmethod
    def ingested(cls, source: Path, root: Path, size: int, quality: Quality = "exact") -> Self:
        """With ingest already run, which is no part of any comparison."""
        pipeline = cls.create(source, root, size, quality)
        pipeline.run("ingest")
        return pipeline

    @classmethod
    def of_two_classes(cls, work: Path, count: int, size: int) -> Self:
        """A source of `count` images that are drawn, in two classes, packed."""
        for number in range(count):
            path = work / "source" / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), images.image(number, size, size))
        pipeline = cls.create(work / "source", work, size)
        pipeline.run("ingest", "resize", "mean", "pack")
        return pipeline

    @property
    def packed(self) -> Path:
        """The folder of packed files."""
        return self.root / "data" / "packed"

    def count(self) -> int:
        """How many images ingest took."""
        return len(self._manifest())

    def rows(self) -> list[Row]:
        """The images that everybody's decoder can read."""
        return [row for row in self._manifest().rows() if row.plain]

    def run(self, *names: str) -> None:
        """Run stages as functions in this process, with a store of image results of their own."""
        os.environ[results_store.FOLDER_VARIABLE] = str(self.root / "image_results")
        for name in names:
            stage: Command[..., Any] = getattr(importlib.import_module(f"stages.{name}"), name)
            checked = {argument: self.params.at(key) for argument, key in stage.reads.items()}
            words = self.arguments(name)
            paths = {
                option.removeprefix("--").replace("-", "_"): Path(value)
                for option, value in zip(words[::2], words[1::2], strict=True)
            }
            stage(**checked, **paths)

    def arguments(self, name: str) -> list[str]:
        """A stage's command line without the command, its paths below `root`."""
        command = _definition(name)["cmd"].replace("$DVC_STAGE", f"{name}@{EXTRACTOR}")
        words = shlex.split(command)[3:]
        return [str(self.root / word) if "/" in word else word for word in words]

    def forget(self) -> None:
        """Remove the outputs of the stages after ingest and all results, so that these start from nothing."""
        remove(self.root / "image_results")
        outputs = {self.root / out for out in _definition("ingest")["outs"]}
        for path in (self.root / "data").iterdir():
            if path not in outputs:
                remove(path)

    def _manifest(self) -> Manifest:
        return Manifest.read(self.root / "data" / "manifest.parquet")


def _definition(name: str) -> dict[str, Any]:
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8").replace("${key}", EXTRACTOR))[
        "stages"
    ]
    definition: dict[str, Any] = stages[name].get("do", stages[name])
    return definition
