"""The data report: one page with everything in it, for a browser without a network."""

import base64
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.data.images import Pixels
from stages.data.manifest import SPLITS, Row
from stages.report.advice import advice

PAIRS_SHOWN = 60
_REJECTS_SHOWN = 500
_BINS = 30


def page(
    rows: list[Row],
    rejects: list[dict[str, str]],
    pairs: list[dict[str, str]],
    figures: Mapping[str, NDArray[np.float64]],
    small: Mapping[str, Pixels],
    sheets: Mapping[str, list[str]],
    drift: dict[str, Any],
) -> str:
    """HTML. `small` has pictures by path; `sheets` the paths to show of each class. All text is escaped."""
    # Here, as every other stage can do without it.
    from jinja2 import Environment, FileSystemLoader

    by_path = {row.path: row for row in rows}
    uris = {path: _uri(pixels) for path, pixels in small.items()}
    counts = _counts(rows)
    aspect = figures["width"] / figures["height"]
    # Escaping names every template: file names and labels are whatever somebody once typed.
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    ).get_template("data.html.j2")
    return template.render(
        pictures=len(rows),
        counts=counts,
        largest=max(row["all"] for row in counts.values()),
        advice=advice({label: row["all"] for label, row in counts.items()}, figures),
        drift=drift,
        histograms={
            name: _histogram(values) for name, values in {**figures, "width / height": aspect}.items()
        },
        rejects=rejects,
        shown_rejects=rejects[:_REJECTS_SHOWN],
        reasons=Counter(one["reason"] for one in rejects),
        pairs=len(pairs),
        other_label=sum(one["same_label"] == "false" for one in pairs),
        cut=sum(by_path[one["path"]].split != by_path[one["other"]].split for one in pairs),
        shown_pairs=[
            {
                "distance": one["distance"],
                "same_label": one["same_label"] == "true",
                "sides": [
                    {"uri": uris[path], "path": path, "label": by_path[path].label}
                    for path in (one["path"], one["other"])
                ],
            }
            for one in pairs[:PAIRS_SHOWN]
        ],
        sheets={label: [uris[path] for path in paths] for label, paths in sheets.items()},
    )


def _counts(rows: list[Row]) -> dict[str, dict[str, int]]:
    found = Counter((row.label, row.split) for row in rows)
    counts: dict[str, dict[str, int]] = {
        label: {str(split): found[label, split] for split in SPLITS}
        for label in sorted({row.label for row in rows})
    }
    return {label: {**each, "all": sum(each.values())} for label, each in counts.items()}


def _histogram(values: NDArray[np.float64]) -> dict[str, Any]:
    """Bars up to the 99th percentile: one huge picture would push all others into the first bar."""
    low, high = float(values.min()), float(np.quantile(values, 0.99))
    counts, _ = np.histogram(
        np.minimum(values, high), bins=_BINS, range=(low, high if high > low else low + 1)
    )
    heights = (100 * counts / counts.max()).round(1).tolist()
    return {
        "heights": heights,
        "low": _short(low),
        "median": _short(float(np.median(values))),
        "high": _short(float(values.max())),
    }


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _uri(pixels: Pixels) -> str:
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
