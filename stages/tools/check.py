"""check: are all the params allowed? Every stage asks this of itself; here it is asked before any runs."""

from stages import cli
from stages.common import log


@cli.stage()
def check() -> None:
    """Do nothing: the command line has checked the whole of the params file by then."""
    log.event("params allowed")


if __name__ == "__main__":
    cli.main(check)
