"""check: are all params allowed, and can DVC read the source? For a look before any stage runs."""

from stages import cli
from stages.common import log
from stages.data.sources._walk import check_for_dvc
from stages.params import Ingest


@cli.command(ingest="ingest")
def check(ingest: Ingest) -> None:
    """Check the whole params file and, where it is there, the folder of the source.

    Raises:
        SourceError: The folder holds what DVC cannot read: it would wait for ever, or name no file.
    """
    # The command line has checked the params: it does so for every command that is run with params.
    if ingest.source.path.is_dir():
        check_for_dvc(ingest.source.path)
    log.event("checked_params")


if __name__ == "__main__":
    cli.main(check)
