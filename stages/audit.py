"""audit: the manifest and the images → a report on the data, and whether they drifted."""

import csv
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import cli
from stages.common import executor as executors
from stages.common import log
from stages.common.errors import ImageError, SourceError, StoreError, raise_if_transient
from stages.common.executor import Executor
from stages.common.files import read_json, replace_atomically, write_json
from stages.data import blobs, image_results
from stages.data import drift as drifting
from stages.data import profile as profiling
from stages.data.blobs import ImageReader
from stages.data.decoding import Pixels
from stages.data.image_results import Examined, Looks
from stages.data.manifest import Manifest, Row
from stages.data.profile import FIGURES, Look
from stages.params import Audit, Drift
from stages.report.pages import data as report


@cli.command(params="audit", source="ingest.source.path")
def audit(
    params: Audit,
    *,
    manifest: Path,
    rejects: Path,
    near_duplicates: Path,
    source: Path,
    blob: Path,
    page: Path,
    profile: Path,
    drift: Path,
) -> None:
    """Report on the data, profile them, and compare the profile with the one that a person accepted.

    Args:
        params: The section `audit`.
        manifest: The manifest.
        rejects: The rejects.
        near_duplicates: The pairs of near duplicates.
        source: The folder that paths of the manifest start from.
        blob: The images that the source does not have as files.
        page: The report to write, HTML.
        profile: The profile to write, JSON.
        drift: The comparison to write, JSON; see stages.data.drift.compare.

    Raises:
        SourceError: An image is gone; or, after writing all three files, drift reaches `stop`.
        StoreError: The reference profile cannot be read.
    """
    table = Manifest.read(manifest)
    pairs = _table(near_duplicates)
    sheets = _sheets(table, params.samples)
    shown = {path for paths in sheets.values() for path in paths}
    shown |= {pair[end] for pair in pairs[: report.PAIRS_SHOWN] for end in ("path", "other")}
    figures, small, decoded = _looks(table, shown, source, blob)
    summary = profiling.summary(table.strings("label").tolist(), figures)
    compared = _compare(params.drift, summary)
    write_json(profile, summary)
    write_json(drift, compared)
    with replace_atomically(page) as aside:
        html = report.page(table, _table(rejects), pairs, figures, small, sheets, compared)
        aside.write_text(html, encoding="utf-8")
    log.event(
        "audited_data",
        images=len(table),
        decoded=decoded,
        near_duplicate_pairs=len(pairs),
        drift=compared["verdict"],
        page=page,
    )
    _report_verdict(compared, drift)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _sheets(table: Manifest, samples: int) -> dict[str, list[str]]:
    """The paths of some images of each class: those with the lowest hashes, the same on any machine.

    At most 600 in all: with many classes fewer of each, with more than 600 those of the smallest classes.
    """
    labels, paths = table.strings("label"), table.strings("path")
    sizes = sorted(Counter(labels.tolist()).items(), key=lambda row: (row[1], row[0]))
    most = max(1, min(samples, report.SAMPLES_SHOWN // len(sizes)))
    classes: dict[str, list[str]] = {label: [] for label in sorted(dict(sizes[: report.SAMPLES_SHOWN]))}
    for row in np.lexsort((table.strings("sha256"), labels)).tolist():
        sheet = classes.get(str(labels[row]))
        if sheet is not None and len(sheet) < most:
            sheet.append(str(paths[row]))
    return classes


def _looks(
    table: Manifest, shown: set[str], source: Path, blob: Path
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Pixels], int]:
    """The figures of all images by name, small versions of those shown, and how many images were decoded."""
    figures = {name: np.empty(len(table)) for name in FIGURES}
    small: dict[str, Pixels] = {}
    with (
        image_results.looks() as looks,
        executors.opened(image_results.examined_follow_from) as executor,
        ImageReader(source, blob) as images,
        log.Progress("looking", total=len(table), unit="image") as progress,
    ):
        looking = _Looking(looks, images, executor, shown)
        place = 0
        for shard in executor.mapped(looking.at, table.shards()):
            for path, look in shard:
                for name, values in figures.items():
                    values[place] = getattr(look, name)
                if path in shown:
                    small[path] = look.small
                place += 1
            progress.advance(len(shard))
    return figures, small, looks.decoded


@dataclass(frozen=True)
class _Looking:
    """Looks at images; those that are not stored are decoded."""

    looks: Looks
    images: ImageReader
    executor: Executor
    shown: set[str]

    def at(self, rows: list[Row]) -> list[tuple[str, Look]]:
        """The path and the look of each image."""
        examine = partial(image_results.examine, damaged=True)
        answers = self.executor.each(examine, map(self._stored, rows))
        return [(row.path, look or self._added(row, answer)) for (row, look), answer in answers]

    def _stored(self, row: Row) -> tuple[tuple[Row, Look | None], tuple[bytes, bool] | None]:
        look = self.looks.figures(row.sha256)
        if look and row.path in self.shown:
            small = self.looks.thumbnail(row.sha256)
            look = None if small is None else replace(look, small=small)
        return (row, look), None if look else (self.images.read_unchanged(row), row.path in self.shown)

    def _added(self, row: Row, answer: Examined | ImageError | None) -> Look:
        if not isinstance(answer, Examined):
            raise blobs.changed(row, answer)
        self.looks.add(row.sha256, answer)
        return answer.look


def _compare(params: Drift, summary: dict[str, Any]) -> dict[str, Any]:
    """Compare the data with the reference profile; `figures` is empty without one."""
    try:
        accepted = read_json(params.reference)
        if accepted == profiling.NONE:
            # The state of every first run, and so no warning.
            log.event(
                "found_no_reference_profile",
                reason="audit.drift.reference is of no images",
                next="make accept-data",
            )
            return {"verdict": "pass", "reference": None, "figures": {}}
        limits = {"warn": params.warn, "stop": params.stop, "false_alarms": params.false_alarms}
        compared = drifting.compare(summary, accepted, **limits)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise_if_transient(error)
        raise StoreError(
            f"audit.drift.reference: {params.reference} is no profile of data; run make accept-data"
        ) from None
    return {"reference": str(params.reference), **compared}


def _report_verdict(compared: dict[str, Any], file: Path) -> None:
    """Warn, or raise SourceError, about the figures that drifted."""
    beyond = {
        name: figure["value"] for name, figure in compared["figures"].items() if figure["verdict"] != "pass"
    }
    if compared["verdict"] == "warn":
        log.warning("found_drift", **beyond, figures=file)
    if compared["verdict"] == "stop":
        values = ", ".join(f"{name} by {value}" for name, value in beyond.items())
        raise SourceError(
            f"the data drifted from the reference profile: {values}; audit.drift.stop is {compared['stop']}; "
            f"run make accept-data if the change is intended; all figures are in {file}"
        )


if __name__ == "__main__":
    cli.main(audit)
