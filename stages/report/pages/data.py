"""The data report: a page that is complete in one file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.data.decoding import Pixels
from stages.data.manifest import Manifest, Split, splits_among
from stages.report.figures import style
from stages.report.pages import rendering
from stages.report.pages.advice import advice

PAIRS_SHOWN = 60
# Sample images on the page, whatever the number of classes: 3 MB at most. So many classes have a sheet, the
# smallest first, and the table has so many rows.
SAMPLES_SHOWN = 600
CLASSES_SHOWN = 300
_REJECTS_SHOWN = 500
_BINS = 30


def page(
    manifest: Manifest,
    rejects: list[dict[str, str]],
    pairs: list[dict[str, str]],
    figures: Mapping[str, NDArray[np.float64]],
    small: Mapping[str, Pixels],
    sheets: Mapping[str, list[str]],
    drift: dict[str, Any],
) -> str:
    """Render the data report; all text is escaped.

    Args:
        manifest: the manifest.
        rejects: the rows of rejects.csv.
        pairs: the rows of near_duplicates.csv.
        figures: name → one value per image of the manifest.
        small: path → the image at 128 pixels, of those that are shown.
        sheets: class → the paths of its images to show.
        drift: the drift check's result.

    Returns:
        The HTML of the page.
    """
    labels, splits = manifest.strings("label").tolist(), manifest.strings("split").tolist()
    ends = {pair[end] for pair in pairs for end in ("path", "other")}
    rows = zip(manifest.strings("path").tolist(), labels, splits, strict=True)
    about = {path: (label, split) for path, label, split in rows if path in ends}
    uris = {path: style.image_uri(pixels) for path, pixels in small.items()}
    shown_splits = splits_among(splits)
    counts = _counts(Counter(zip(labels, splits, strict=True)), shown_splits)
    aspect = figures["width"] / figures["height"]
    return rendering.render(
        "data.html.j2",
        images=len(manifest),
        splits=shown_splits,
        counts=counts,
        shown_counts=dict(sorted(counts.items(), key=lambda row: row[1]["all"])[:CLASSES_SHOWN])
        if len(counts) > CLASSES_SHOWN
        else counts,
        largest=max(row["all"] for row in counts.values()),
        advice=advice({label: row["all"] for label, row in counts.items()}, figures),
        drift=drift,
        histograms={
            name: _histogram(values) for name, values in {**figures, "width / height": aspect}.items()
        },
        rejects=rejects,
        shown_rejects=rejects[:_REJECTS_SHOWN],
        reasons=Counter(reject["reason"] for reject in rejects),
        pairs=len(pairs),
        other_label=sum(pair["same_label"] == "false" for pair in pairs),
        cut=sum(about[pair["path"]][1] != about[pair["other"]][1] for pair in pairs),
        shown_pairs=[
            {
                "distance": pair["distance"],
                "same_label": pair["same_label"] == "true",
                "sides": [
                    {"uri": uris[path], "path": path, "label": about[path][0]}
                    for path in (pair["path"], pair["other"])
                ],
            }
            for pair in pairs[:PAIRS_SHOWN]
        ],
        sheets={label: [uris[path] for path in paths] for label, paths in sheets.items()},
    )


def _counts(images: Counter[tuple[str, str]], splits: Sequence[Split]) -> dict[str, dict[str, int]]:
    """Number of images by class and split, and of each class in all splits."""
    counts: dict[str, dict[str, int]] = {
        label: {str(split): images[label, split] for split in splits}
        for label in sorted({label for label, _ in images})
    }
    return {label: {**each, "all": sum(each.values())} for label, each in counts.items()}


def _histogram(values: NDArray[np.float64]) -> dict[str, Any]:
    """Bars up to the 99th percentile: a single huge image would push all others into the first bar.

    The last bar has the images beyond it, too.
    """
    low, most, high = float(values.min()), float(values.max()), float(np.quantile(values, 0.99))
    if high == low:
        # Nearly all images are equal; bars up to this value would say that all are.
        high = most
    counts, _ = np.histogram(
        np.minimum(values, high), bins=_BINS, range=(low, high if high > low else low + 1)
    )
    heights = (100 * counts / counts.max()).round(1).tolist()
    return {
        "heights": heights,
        "low": _short(low),
        "median": _short(float(np.median(values))),
        "high": _short(high),
        "most": _short(most),
    }


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
