"""rollback: make the previous champion the champion again."""

from stages import cli, tracking
from stages.common import log
from stages.common.errors import ServingError
from stages.serving.registry import BEFORE, Registry


def rollback(name: str) -> None:
    """Move the alias `champion` of a registered model back to the version that had it before.

    A second call goes back one version further.

    Args:
        name: The registered model, which has its recipe's name.

    Raises:
        ServingError: When there is no champion or none before it, or the champion has just changed.
    """
    with tracking.connected():
        registry = Registry(name)
        champion = registry.champion()
        if champion is None:
            raise ServingError(f"models:/{name} has no champion")
        if BEFORE not in champion.tags:
            raise ServingError(f"{champion.uri} is the first champion; there is none before it")
        previous = registry.get(champion.tags[BEFORE])
        if not registry.move(previous, champion):
            raise ServingError(f"the champion of {name} has just changed; check it, and run rollback again")
    log.event("moved_champion", to=previous.uri, previous=champion.uri)


if __name__ == "__main__":
    cli.main(rollback)
