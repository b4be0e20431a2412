"""A container's limits on cores and memory, in trees of files as cgroups v1 and v2 have them."""

import os
from pathlib import Path

import pytest

from stages.common import limits

GIB = 2**30


class Machine:
    """A machine with 64 cores and 256 GiB, and the cgroup files of this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.membership = folder / "cgroup", folder / "self"
        self.root.mkdir()
        self.membership.write_text("")
        monkeypatch.setattr(limits, "_ROOT", self.root)
        monkeypatch.setattr(limits, "_MEMBERSHIP", self.membership)
        monkeypatch.setattr(limits, "_affinity", lambda: 64)
        pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 256 * GIB // 4096}
        monkeypatch.setattr(os, "sysconf", pages.__getitem__)

    def is_in(self, *lines: str) -> None:
        self.membership.write_text("".join(f"{line}\n" for line in lines))

    def has(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_without_cgroups_the_machine_is_the_limit(machine: Machine) -> None:
    machine.membership.unlink()
    assert limits.cores() == 64
    assert limits.available_memory() == 256 * GIB


@pytest.mark.parametrize(("quota", "cores"), [("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1)])
def test_version_2_inside_a_container(machine: Machine, quota: str, cores: int) -> None:
    machine.is_in("0::/")
    machine.has(
        {
            "cpu.max": quota,
            "memory.max": str(8 * GIB),
        }
    )
    assert limits.cores() == cores
    assert limits.available_memory() == 8 * GIB


def test_version_2_without_limits(machine: Machine) -> None:
    machine.is_in("0::/user.slice")
    machine.has(
        {
            "user.slice/cpu.max": "max 100000",
            "user.slice/memory.max": "max",
        }
    )
    assert limits.cores() == 64
    assert limits.available_memory() == 256 * GIB


def test_the_lowest_limit_of_a_group_and_of_those_above_it_counts(machine: Machine) -> None:
    machine.is_in("0::/kubepods/pod1/container")
    machine.has(
        {
            "kubepods/pod1/cpu.max": "300000 100000",
            "kubepods/pod1/memory.max": str(4 * GIB),
            "kubepods/pod1/container/cpu.max": "max 100000",
            "kubepods/pod1/container/memory.max": str(6 * GIB),
        }
    )
    assert limits.cores() == 3
    assert limits.available_memory() == 4 * GIB


@pytest.mark.parametrize(
    "path", ["/", "/docker/0123abc"], ids=["own namespace", "the host's path, not mounted inside"]
)
def test_version_1_inside_a_container(machine: Machine, path: str) -> None:
    machine.is_in(f"4:memory:{path}", f"3:cpu,cpuacct:{path}", "0::/")
    machine.has(
        {
            "cpu/cpu.cfs_quota_us": "400000",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": str(2 * GIB),
        }
    )
    assert limits.cores() == 4
    assert limits.available_memory() == 2 * GIB


def test_version_1_without_limits(machine: Machine) -> None:
    machine.is_in("4:memory:/", "3:cpu,cpuacct:/")
    machine.has(
        {
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": "9223372036854771712",
        }
    )
    assert limits.cores() == 64
    assert limits.available_memory() == 256 * GIB


def test_a_limit_is_passed_on_to_libraries_that_start_threads(machine: Machine) -> None:
    machine.is_in("0::/")
    environment = {"OMP_NUM_THREADS": "1"}
    limits.limit_threads(environment)
    assert environment == {"OMP_NUM_THREADS": "1"}, "no limit, nothing to say"
    machine.has(
        {
            "cpu.max": "200000 100000",
        }
    )
    limits.limit_threads(environment)
    assert environment["OMP_NUM_THREADS"] == "1", "a person's choice wins"
    assert environment["TF_NUM_INTRAOP_THREADS"] == "2"


def test_this_process_has_a_core_and_memory() -> None:
    assert 1 <= limits.cores() <= (os.cpu_count() or 1)
    assert limits.available_memory() > 2**20
