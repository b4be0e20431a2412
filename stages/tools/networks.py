"""List every network, or the layers of one: `python -m stages.tools.networks [NAME]`."""

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from stages.common import plugins, section
from stages.common.errors import ConvoyError, ParamsError
from stages.models import networks

if TYPE_CHECKING:
    import keras


def main(argv: list[str] | None = None) -> None:
    """Print the table of all networks, or the layers of one. Exits with 1 after one line for a mistake."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.networks", description=main.__doc__)
    parser.add_argument("name", nargs="?", help="a network; without it, the table of all")
    parser.add_argument("--classes", type=int, help="default: as its authors had")
    parser.add_argument(
        "--input", type=int, nargs=3, metavar=("H", "W", "C"), help="default: as its authors had"
    )
    parser.add_argument("--options", type=yaml.safe_load, default={}, help="as in the params: '{reg: 0.0}'")
    given = parser.parse_args(argv)
    # TensorFlow greets at length on every import.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        if given.name is None:
            _list_all()
        else:
            network = _unfilled(given.name, given.input, given.classes, given.options)
            network.summary(line_length=110)
    except ConvoyError as error:
        sys.exit(f"[networks] error: {error}")


def _list_all() -> None:
    print(f"{'network':<20}{'input':>12}{'classes':>9}{'parameters':>14}")
    for name in networks.names():
        network = _unfilled(name, None, None, {})
        size = "x".join(map(str, network.input_shape[1:]))
        print(f"{name:<20}{size:>12}{network.output_shape[1]:>9,}{network.count_params():>14,}")


def _unfilled(name: str, shape: list[int] | None, classes: int | None, chosen: Any) -> "keras.Model":
    """The network without values for its weights: VGG19 in a second and without its half a gigabyte."""
    import keras

    if name not in networks.names():
        raise ParamsError(f"no network {name!r}; allowed: {', '.join(networks.names())}")
    try:
        options = networks.options(name).model_validate(chosen)
    except ValidationError as error:
        raise ParamsError(f"--options: {section.described(error, chosen)}") from None
    module = plugins.module(networks.__name__, name)
    with keras.StatelessScope(initialize_variables=False):
        return networks.build(name, tuple(shape or module.SHAPE), classes or module.CLASSES, None, options)


if __name__ == "__main__":
    main()
