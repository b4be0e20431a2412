"""check: check all params and the source before any stage runs.

DVC reads the whole source before the first stage starts, so no stage can say what is wrong with it. Every
command of Convoy's that starts DVC runs this check first; before a bare `dvc repro`, run it by hand.
"""

from collections.abc import Sequence
from pathlib import Path

from stages import cli
from stages import params as typed
from stages.common import log
from stages.tools.running import checking, composing
from stages.tools.running.networks import check_networks


def check(
    overrides: list[str] | None = None,
    *,
    params: Path = Path("params.yaml"),
    conf: Path = Path("conf"),
    networks: bool = False,
) -> None:
    """Check all params and the source.

    Args:
        overrides: Of Hydra, as for -S of `dvc exp run`; none: the params file is checked.
        params: The params file.
        conf: The folder that params with overrides are composed from.
        networks: Build extractors and networks too, with their weights, for images of this size.

    Raises:
        ParamsError: A param is wrong, or a network does not take images of this size or its weights.
        SourceError: The source does not exist, is in a folder of outputs, holds what DVC cannot read (it
            would wait for ever, or name no file), or has too few classes or too few images of a class.
    """
    checked = load_checked(overrides or [], params, conf)
    if networks:
        check_networks(checked)
    log.event("checked_params")


def load_checked(
    overrides: Sequence[str], params: Path = Path("params.yaml"), conf: Path = Path("conf")
) -> typed.Params:
    """Load the params that a run will have; all of them are right, and the source can be read and split.

    Args:
        overrides: Of Hydra, as for -S of `dvc exp run`; none: the params file is loaded.
        params: The params file.
        conf: The folder that params with overrides are composed from.

    Raises:
        ParamsError: A param is wrong, or names a file that does not exist.
        SourceError: DVC cannot read the source, or the names of its files say that it cannot be used.
    """
    if overrides:
        composing.compose(conf, overrides, composing.NEXT)
    checked = typed.load(composing.NEXT if overrides else params)
    checking.check_images(checked)
    checking.check_files(checked)
    return checked


if __name__ == "__main__":
    cli.main(check)
