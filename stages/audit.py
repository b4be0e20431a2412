"""audit: the manifest and the images → a report on the data, and whether they drifted from the accepted."""

import csv
import hashlib
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import cli
from stages.common import log
from stages.common.errors import ImageError, SourceError, StoreError
from stages.common.files import read_json, replace_atomically, write_json
from stages.common.parallel import mapped
from stages.data import drift as drifting
from stages.data import image_results
from stages.data import profile as profiling
from stages.data.blobs import ImageReader
from stages.data.decoding import Pixels
from stages.data.image_results import Looks
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
    """Look at every image once; write the page, the profile of the data, and how far it drifted (JSON).

    Raises SourceError when an image is gone, or after writing all three, when drift reaches `stop`;
    StoreError when the accepted profile cannot be read.
    """
    table = Manifest.read(manifest)
    pairs = _table(near_duplicates)
    sheets = _sheets(table, params.samples)
    shown = {path for paths in sheets.values() for path in paths}
    shown |= {pair[end] for pair in pairs[: report.PAIRS_SHOWN] for end in ("path", "other")}
    figures, small, decoded = _looks(table, shown, source, blob)
    summary = profiling.summary(table.strings("label").tolist(), figures)
    found = _drift(params.drift, summary)
    write_json(profile, summary)
    write_json(drift, found)
    with replace_atomically(page) as aside:
        html = report.page(table, _table(rejects), pairs, figures, small, sheets, found)
        aside.write_text(html, encoding="utf-8")
    log.event(
        "audited",
        images=len(table),
        decoded=decoded,
        near_duplicate_pairs=len(pairs),
        drift=found["verdict"],
        page=page,
    )
    _judge(found, drift)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _sheets(table: Manifest, samples: int) -> dict[str, list[str]]:
    """The paths of some images of each class: those with the lowest hashes, the same on any machine."""
    labels, paths = table.strings("label"), table.strings("path")
    classes: defaultdict[str, list[str]] = defaultdict(list)
    for place in np.lexsort((table.strings("sha256"), labels)).tolist():
        if len(chosen := classes[str(labels[place])]) < samples:
            chosen.append(str(paths[place]))
    return dict(classes)


def _looks(
    table: Manifest, shown: set[str], source: Path, blob: Path
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Pixels], int]:
    """The figures of all images by name, small versions of those shown, and how many images were decoded."""
    figures = {name: np.empty(len(table)) for name in FIGURES}
    small: dict[str, Pixels] = {}
    with (
        image_results.looks() as looks,
        ImageReader(source, blob) as images,
        log.Progress("looking", total=len(table), unit="image") as progress,
    ):

        def work(row: Row) -> tuple[str, Look]:
            look = looks.figures(row.sha256)
            if look and row.path not in shown:
                return row.path, look
            if look and (thumbnail := looks.thumbnail(row.sha256)) is not None:
                return row.path, replace(look, small=thumbnail)
            look = _decoded(row, looks, images)
            if row.path in shown:
                looks.add_thumbnail(row.sha256, look.small)
            return row.path, look

        for place, (path, look) in enumerate(mapped(work, table.each())):
            for name, values in figures.items():
                values[place] = getattr(look, name)
            if path in shown:
                small[path] = look.small
            progress.advance()
    return figures, small, looks.decoded


def _decoded(row: Row, looks: Looks, images: ImageReader) -> Look:
    try:
        data = images.read(row)
        sha256 = hashlib.sha256(data).hexdigest()
        return looks.examine(data, sha256, damaged=True)[1]
    except (OSError, ImageError) as error:
        raise SourceError(f"{row.path}: {error}; the source has changed, run ingest again") from None


def _drift(params: Drift, summary: dict[str, Any]) -> dict[str, Any]:
    if params.reference is None:
        log.warning("nothing to compare the data with: audit.drift.reference is null; see make accept-data")
        return {"verdict": "pass", "reference": None, "figures": {}}
    try:
        accepted = read_json(params.reference)
        compared = drifting.compare(summary, accepted, params.warn, params.stop)
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ZeroDivisionError):
        raise StoreError(
            f"audit.drift.reference: {params.reference} is no profile of data; run make accept-data"
        ) from None
    return {"reference": str(params.reference), **compared}


def _judge(found: dict[str, Any], listed_in: Path) -> None:
    beyond = {name: one["value"] for name, one in found["figures"].items() if one["verdict"] != "pass"}
    if found["verdict"] == "warn":
        log.warning("the data drifted from the accepted", **beyond, listed_in=listed_in)
    if found["verdict"] == "stop":
        values = ", ".join(f"{name} by {value}" for name, value in beyond.items())
        raise SourceError(
            f"the data drifted from the accepted: {values}; audit.drift.stop is {found['stop']}; "
            f"if it is meant, run make accept-data; all figures are in {listed_in}"
        )


if __name__ == "__main__":
    cli.main(audit)
