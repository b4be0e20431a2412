"""A network's layers as text and, where graphviz is installed, as a diagram."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import keras

_LAYERS = 400


def draw(model: keras.Model, folder: Path) -> list[Path]:
    """Write architecture.txt, a table of the layers, and architecture.png, where graphviz is installed.

    Networks of more than 400 layers get no diagram: it would be an image of 30,000 pixels.

    Args:
        model: the network.
        folder: an existing folder.

    Returns:
        The files written.
    """
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line), line_length=110, expand_nested=True)
    written = [folder / "architecture.txt"]
    written[0].write_text("\n".join(lines) + "\n", encoding="utf-8")
    drawable = shutil.which("dot") and find_spec("pydot")
    if drawable and len(model.layers) <= _LAYERS:
        diagram = folder / "architecture.png"
        keras.utils.plot_model(
            model, diagram, show_shapes=True, show_layer_names=True, expand_nested=True, dpi=80
        )
        written.append(diagram)
    return written
