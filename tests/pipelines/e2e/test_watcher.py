"""The watch on a folder of images, in Airflow's environment."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.pipelines.conftest import AIRFLOW_PYTHON

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("airflow_environment")]

SCRIPT = """
import asyncio, json, pathlib, sys
from pipelines.watcher import FolderTrigger

folder, memory = pathlib.Path(sys.argv[1]), sys.argv[2]
seen = []

def starts():
    return FolderTrigger(str(folder), memory, 0.2).run()

async def event(watch):
    return (await asyncio.wait_for(anext(watch), 60)).payload["files"]

async def grows():
    for number in range(20):
        with (folder / "growing.png").open("a") as file:
            file.write("more")
        await asyncio.sleep(0.05)
    seen.append("written")

async def main():
    watch = starts()
    first = asyncio.ensure_future(event(watch))
    await asyncio.sleep(1)
    seen.append("nothing yet" if not first.done() else first.result())
    await grows()
    seen.append(await first)
    again = asyncio.ensure_future(event(watch))
    await asyncio.sleep(1)
    again.cancel()
    # Airflow does not run.
    (folder / "2.png").touch()
    seen.append(await event(starts()))

asyncio.run(main())
print(json.dumps(seen))
"""


def test_a_change_is_reported_once_when_it_is_complete_and_after_a_pause_of_airflow(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "1.png").touch()
    done = subprocess.run(
        [AIRFLOW_PYTHON, "-c", SCRIPT, folder, tmp_path / "watched.json"],
        cwd=ROOT,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["nothing yet", "written", 2, 3]
