"""Colours stand out, and images of figures and pixels are what pages need."""

import base64
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from stages.report.figures import charts, style

CURVES = {
    "epoch": [1.0, 2.0],
    "loss": [0.9, 0.5],
    "val_loss": [1.0, 0.7],
    "accuracy": [0.5, 0.8],
    "val_accuracy": [0.4, 0.7],
}


def contrast(foreground: str, background: str) -> float:
    """WCAG 2.2's contrast ratio of two colours, #rrggbb."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(foreground), luminance(background)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [style.LIGHT, style.DARK], ids=["light", "dark"])
def test_lines_stand_out_from_the_paper_and_text_can_be_read(colours: dict[str, str]) -> None:
    for line in ("blue", "vermilion", "green", "purple"):
        assert contrast(colours[line], colours["paper"]) >= 3, line
    for paper in ("paper", "raised"):
        assert contrast(colours["dim"], colours[paper]) >= 4.5
    for paper in ("paper", "raised", "warn", "bad", "good"):
        assert contrast(colours["ink"], colours[paper]) >= 7, paper
    for cell in ("hit", "miss"):
        assert contrast(colours["ink"], colours[cell]) >= 4.5, cell


def test_light_and_dark_have_the_same_colours() -> None:
    assert style.LIGHT.keys() == style.DARK.keys()


def svg(figure: Figure) -> str:
    return base64.b64decode(style.figure_uri(figure).removeprefix("data:image/svg+xml;base64,")).decode()


def test_a_figure_takes_its_colours_from_the_page() -> None:
    text = svg(charts.history(CURVES))
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    drawing = text[text.index("</style>") :]
    assert "var(--blue)" in drawing
    assert not [colour for colour in style.LIGHT.values() if colour in drawing]
    assert "prefers-color-scheme: dark" in text
    # Text stays text: sharp at any size, and found by a search.
    assert ">accuracy</text>" in text


def test_a_figure_is_the_same_bytes_every_time() -> None:
    assert svg(charts.history(CURVES)) == svg(charts.history(CURVES))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_image_is_made_smaller_and_never_larger(channels: int) -> None:
    pixels = np.full((50, 100, channels), 200, np.uint8)
    for side, shape in {40: (20, 40), 400: (50, 100), None: (50, 100)}.items():
        data = base64.b64decode(style.image_uri(pixels, side).removeprefix("data:image/jpeg;base64,"))
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape == (*shape, 3)


def test_colours_stay_in_their_channels() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    data = base64.b64decode(style.image_uri(red).removeprefix("data:image/jpeg;base64,"))
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    *others, strength = decoded[8, 8]
    assert strength > 240
    assert max(others) < 20
