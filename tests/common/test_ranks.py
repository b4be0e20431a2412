"""Which of several processes this one is."""

import pytest

from stages.common import ranks
from stages.common.errors import UsageError
from stages.common.ranks import COORDINATOR, PROCESSES, RANK, Ranks


def test_without_the_variables_there_is_one_process() -> None:
    assert ranks.read({}) == ranks.read({PROCESSES: "1"}) == Ranks(0, 1)


def test_the_coordinator_is_the_first_address() -> None:
    several = {COORDINATOR: "10.0.0.1:1234,10.0.0.2:1234", PROCESSES: "2", RANK: "1"}
    assert ranks.read(several) == Ranks(1, 2, "10.0.0.1:1234")
    assert not ranks.read(several).loopback


def test_a_process_reads_what_the_launcher_writes() -> None:
    place = Ranks(2, 3, "127.0.0.1:4000")
    assert ranks.read(place.environment()) == place
    assert place.loopback


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({PROCESSES: "two"}, "must be numbers"),
        ({RANK: ""}, "must be numbers"),
        ({RANK: "2"}, "must be 0 to 1"),
        ({COORDINATOR: ""}, "must be host:port of rank 0"),
        ({COORDINATOR: "10.0.0.1"}, "must be host:port of rank 0"),
    ],
)
def test_what_is_missing_or_wrong_is_named(changes: dict[str, str], message: str) -> None:
    values = {COORDINATOR: "10.0.0.1:1234", PROCESSES: "2", RANK: "1"} | changes
    with pytest.raises(UsageError, match=message):
        ranks.read(values)
