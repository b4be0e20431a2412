"""rollback: the champion before the present one is champion again."""

from stages import cli, tracking
from stages.common import log
from stages.common.errors import ServingError
from stages.serving.registry import BEFORE, Registry


@cli.stage()
def rollback(name: str) -> None:
    """Move the alias `champion` of the model `name` back to the version that was champion before.

    Once more goes back one further. Raises ServingError when there is no champion, or none before it.
    """
    with tracking.connected():
        registry = Registry(name)
        champion = registry.champion()
        if champion is None:
            raise ServingError(f"models:/{name} has no champion")
        if BEFORE not in champion.tags:
            raise ServingError(f"{champion.uri} is the first champion; there is none before it")
        before = registry.get(champion.tags[BEFORE])
        if not registry.move(before, champion):
            raise ServingError(f"the champion of {name} has just changed; look, and run it again")
    log.event("rolled back", now=before.uri, was=champion.uri)


if __name__ == "__main__":
    cli.main(rollback)
