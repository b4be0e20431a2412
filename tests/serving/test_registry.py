"""Of several promotions that were judged against the same champion one wins, on real servers."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from stages.common.errors import ServingError
from stages.serving.registry import Registry, Version

from .servers import mlflow_server, postgres

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONTENDERS = 4
# Waits at the start for a line, so that all of them move at the same moment.
MOVE = """
import sys
import mlflow
from stages.serving.registry import Registry
mlflow.set_tracking_uri(sys.argv[1])
registry = Registry(sys.argv[2])
mine, expected = registry.get(sys.argv[3]), registry.champion()
print("ready", flush=True)
sys.stdin.readline()
print(registry.move(mine, expected), flush=True)
"""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        with mlflow_server(f"sqlite:///{folder}/mlflow.db", folder) as uri:
            yield uri
        return
    with postgres() as database, mlflow_server(database, folder) as uri:
        yield uri


@pytest.fixture
def registry(server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Registry:
    # MLflow sets the variable too, for good.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    mlflow.set_tracking_uri(server)
    return Registry(request.node.originalname, lease=2.0)


def version(registry: Registry, digest: str) -> Version:
    """A version of a model that is nothing but a name."""
    client = MlflowClient()
    run = client.create_run("0")
    model = client.create_logged_model("0", name="model", source_run_id=run.info.run_id)
    client.finalize_logged_model(model.model_id, "READY")
    return registry.register(f"models:/{model.model_id}", run.info.run_id, digest)


def race(server: str, registry: Registry, versions: list[Version]) -> list[bool]:
    """Each version's own process moves the alias to it; whether it did."""
    words = [sys.executable, "-c", MOVE, server, registry.name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [
        subprocess.Popen([*words, one.number], cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload]
        for one in versions
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=60)[0] == "True\n" for process in processes]


def test_one_of_many_first_promotions_wins(server: str, registry: Registry) -> None:
    versions = [version(registry, f"v{number}") for number in range(CONTENDERS)]
    assert registry.champion() is None
    won = race(server, registry, versions)
    assert sum(won) == 1
    champion = registry.champion()
    assert champion is not None
    assert champion.number == versions[won.index(True)].number


def test_one_of_many_wins_over_a_champion(server: str, registry: Registry) -> None:
    champion, *rivals = [version(registry, f"v{number}") for number in range(CONTENDERS + 1)]
    assert registry.move(champion, None)
    won = race(server, registry, rivals)
    assert sum(won) == 1
    now = registry.champion()
    assert now is not None
    assert now.number == rivals[won.index(True)].number
    # Who lost judges against the new champion, and may then win.
    assert registry.move(rivals[won.index(False)], now)


def test_a_holder_that_died_is_waited_for_and_passed_over(registry: Registry) -> None:
    one, other = version(registry, "one"), version(registry, "other")
    assert registry.move(one, None)
    dead = registry._leased()
    dead.__enter__()
    assert registry.move(other, one)
    now = registry.champion()
    assert now is not None
    assert now.number == other.number
    # It wakes up again and returns a lease that is no longer the last: nothing is held by that.
    dead.__exit__(None, None, None)
    assert registry.move(one, other)


def test_versions_are_found_by_what_they_are(registry: Registry) -> None:
    assert registry.find("a") is None
    first, second = version(registry, "a"), version(registry, "b")
    assert registry.find("a") == first
    assert registry.get(second.number) == second
    with pytest.raises(ServingError, match=f"models:/{registry.name}/99 is not there"):
        registry.get("99")
