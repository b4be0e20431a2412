"""The garbage collector beside imports and at the end of a process."""

import gc
import subprocess
import sys

import pytest

from stages.common import collector
from tests.paths import ROOT

# Prints what each collection was, and what the end of the process collects.
WATCHED = """
import gc
class Cycle:
    def __init__(self): self.itself = self
    def __del__(self): print("collected", flush=True)
garbage = [Cycle()]
collections = []
gc.callbacks.append(lambda phase, facts: collections.append(phase))
"""


def run(program: str) -> str:
    words = [sys.executable, "-c", WATCHED + program]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_importing_keras_collects_no_garbage() -> None:
    program = (
        "from stages.common.keras_import import import_keras\n"
        "collections.clear()\nimport_keras()\nprint(len(collections), gc.isenabled())"
    )
    assert run(program).splitlines()[0] == "0 True"


def test_packages_are_imported_once_and_what_they_made_is_frozen() -> None:
    program = (
        "from stages.common import collector\n"
        "collector.import_packages('sqlite3', 'json')\nfrozen = gc.get_freeze_count()\n"
        "later = [[] for _ in range(50)]\n"
        "collector.import_packages('sqlite3', 'json')\nprint(frozen > 0, gc.get_freeze_count() == frozen)"
    )
    assert run(program).splitlines()[0] == "True True"


def test_a_process_ends_without_a_last_collection() -> None:
    assert run("del garbage") == "collected\n"
    assert run("from stages.common import collector; collector.skip_at_exit(); del garbage") == ""


def test_a_failed_import_leaves_the_collector_on() -> None:
    with pytest.raises(ModuleNotFoundError):
        collector.import_packages("no_such_package")
    assert gc.isenabled()
