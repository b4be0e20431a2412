"""check_champion: compare reports/promotion.json with the registry."""

from pathlib import Path

from stages import cli, tracking
from stages.common import log
from stages.common.errors import ServingError
from stages.common.files import read_json
from stages.serving.registry import Registry

_AGAIN = "judge again: dvc repro --single-item --force promote"


def check_champion(verdict: Path = Path("reports/promotion.json")) -> None:
    """Check that the registry still has the champion that a verdict names.

    DVC restores reports/promotion.json from its cache without asking the registry, which may be another one,
    or may have lost a version since. `make run` ends with this check.

    Args:
        verdict: What `promote` wrote.

    Raises:
        ServingError: The registry lacks the version that the verdict calls the champion.
        TrackingError: The registry cannot be used.
    """
    facts = read_json(verdict)
    if facts["decision"] == "would be promoted":
        log.event("found_no_champion", decision=facts["decision"])
        return
    champion = facts["challenger"] if facts["decision"] == "promoted" else facts["champion"]
    uri = champion and champion["uri"]
    with tracking.connected():
        registry = Registry(facts["model"])
        now = registry.champion()
        try:
            if uri:
                registry.get(uri.rpartition("/")[2])
        except ServingError:
            raise ServingError(
                f"{verdict} names {uri} as champion, which the registry lacks; {_AGAIN}"
            ) from None
    if (now and now.uri) != uri:
        log.warning(
            "found_another_champion", verdict=verdict, named=uri, champion=now and now.uri, next=_AGAIN
        )
    elif uri:
        log.event("checked_champion", champion=uri)
    else:
        log.event("found_no_champion", decision=facts["decision"])


if __name__ == "__main__":
    cli.main(check_champion)
