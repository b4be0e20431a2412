"""One look for figures and pages: colour-blind safe, for light and for dark.

Colours are Okabe and Ito's (Color Universal Design, 2008), the light ones of them for dark paper. Each has a
contrast of 3:1 or more to its paper (WCAG 2.2, 1.4.11), which tests/report/test_style.py checks.
"""

import base64
import io
from typing import TYPE_CHECKING, Any

import cv2

from stages.data.decoding import Pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIGHT = {
    "paper": "#ffffff",
    "raised": "#f5f7f9",
    "line": "#d1d9e0",
    "dim": "#59636e",
    "ink": "#1b1f24",
    "blue": "#0072b2",
    "vermilion": "#d55e00",
    "green": "#00835f",
    "purple": "#a8508a",
    "warn": "#fff4d6",
    "bad": "#fde8dc",
    "good": "#dff3eb",
    "hit": "#5fa8d3",
    "miss": "#f0a06a",
}
DARK = {
    "paper": "#12161b",
    "raised": "#1b2128",
    "line": "#343c46",
    "dim": "#9da7b3",
    "ink": "#e6edf3",
    "blue": "#56b4e9",
    "vermilion": "#e69f00",
    "green": "#2fbf96",
    "purple": "#d98cba",
    "warn": "#3a2f10",
    "bad": "#45210f",
    "good": "#0f3428",
    "hit": "#1d6a9c",
    "miss": "#94480f",
}
TRAIN, VAL = LIGHT["blue"], LIGHT["vermilion"]
SERIES = [LIGHT[name] for name in ("blue", "vermilion", "green", "purple", "ink")]
# What matplotlib.rc_context takes: `@rc_context(style.FIGURE)` in front of a function that draws.
# Any, as matplotlib's type of a key is the list of all 300 of them.
FIGURE: dict[Any, Any] = {
    "figure.facecolor": LIGHT["paper"],
    "axes.facecolor": LIGHT["paper"],
    "text.color": LIGHT["ink"],
    # Names of classes are text, never formulas: "$5 bill" or "a_$b" would stop the drawing.
    "text.parse_math": False,
    "axes.labelcolor": LIGHT["ink"],
    "axes.edgecolor": LIGHT["dim"],
    "xtick.color": LIGHT["dim"],
    "ytick.color": LIGHT["dim"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["line"],
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
_SVG: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "convoy"}
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 85]


def figure_uri(figure: "Figure") -> str:
    """Write a figure as an SVG in a data URI: dark where the page is, and the same bytes every time."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context(_SVG):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue().replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
    for name, colour in LIGHT.items():
        text = text.replace(colour, f"var(--{name})")
    opened = text.index(">", text.index("<svg")) + 1
    text = f"{text[:opened]}<style>{css()}</style>{text[opened:]}"
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def image_uri(pixels: Pixels, side: int | None = None) -> str:
    """Write pixels uint8 (H, W, 1 or 3) as a JPEG in a data URI.

    Args:
        pixels: gray or RGB.
        side: the longer side in pixels at most; smaller images keep their size. None keeps any size.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, (side or max(height, width)) / max(height, width))
    if scale < 1:
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA).astype("uint8", copy=False)
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR).astype("uint8", copy=False)
    jpeg = cv2.imencode(".jpg", pixels, _JPEG)[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def css() -> str:
    """Write the colours as custom properties of CSS: `var(--ink)` and so on."""
    return (
        f":root {{ color-scheme: light dark; {_properties(LIGHT)} }} "
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_properties(DARK)} }} }}"
    )


def _properties(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())
