"""check: are all params allowed, and can the source be used? For a look before any stage runs."""

from pathlib import Path

from stages import cli
from stages import params as typed
from stages.common import log
from stages.data.sources._walk import check_for_dvc
from stages.tools.running.networks import check_networks


def check(*, params: Path = Path("params.yaml"), networks: bool = False) -> None:
    """Check the whole params file and, where it is there, the folder of the source.

    Args:
        params: The params file.
        networks: Build extractors and networks too, with their weights: do they take images of this size?

    Raises:
        ParamsError: A param is wrong, or a network does not take images of this size or its weights.
        SourceError: The folder holds what DVC cannot read: it would wait for ever, or name no file.
    """
    checked = typed.load(params)
    if checked.ingest.source.path.is_dir():
        check_for_dvc(checked.ingest.source.path)
    if networks:
        check_networks(checked)
    log.event("checked_params")


if __name__ == "__main__":
    cli.main(check)
