"""check: are all params allowed? Every stage checks them first; this checks before any stage runs."""

from stages import cli
from stages.common import log


@cli.command()
def check() -> None:
    """Check the whole params file."""
    # The command line has checked it: it does so for every command that is run with params.
    log.event("checked_params")


if __name__ == "__main__":
    cli.main(check)
