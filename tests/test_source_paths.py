"""Where images come from is a path that a user chose: DVC and the stages take any, and no shell sees it."""

import shutil

import pytest

from tests.conftest import Images
from tests.test_pipeline import Clone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("paths") / "clone")


@pytest.mark.parametrize(
    "name",
    [
        "My images; touch EXECUTED",
        "$(touch EXECUTED) `touch EXECUTED` & 'single' \"double\" | x",
    ],
)
def test_a_source_path_is_never_a_command(clone: Clone, images: Images, name: str) -> None:
    source = images({"cat": 12, "dog": 12}, root=clone.root / "datasets" / name)
    clone.set("ingest.source", {"kind": "folder", "path": f"datasets/{name}"})
    assert sorted(clone.repro("audit", "resize")) == ["audit", "ingest", "resize"]
    assert not list(clone.root.rglob("EXECUTED"))
    shutil.rmtree(source)


def test_a_path_in_the_home_folder_is_refused_in_one_line(clone: Clone) -> None:
    clone.set("ingest.source", {"kind": "folder", "path": "~/images"})
    output = clone.dvc("repro", "ingest", fails=True)
    (line,) = [line for line in output.splitlines() if line.startswith("ERROR") or "level=error" in line]
    assert "~/images" in line
    assert "Traceback" not in output
