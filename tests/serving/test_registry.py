"""On real servers: one of several promotions wins, and housekeeping in MLflow stops none of them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import pytest
import sqlalchemy
from mlflow import MlflowClient

from stages.common.errors import TRANSIENT, ServingError, exit_status
from stages.data import image_set
from stages.serving import lease as lease_module
from stages.serving import ledger
from stages.serving.registry import BEFORE, Registry, Version, check_champion

from .rivals import race
from .servers import mlflow_server, postgres

pytestmark = pytest.mark.slow

CONTENDERS = 4


class Server(NamedTuple):
    """The address of a tracking server, and of its database."""

    uri: str
    store: str


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        store = f"sqlite:///{folder}/mlflow.db"
        with mlflow_server(store, folder) as uri:
            yield Server(uri, store)
        return
    with postgres() as database, mlflow_server(database, folder) as uri:
        yield Server(uri, database)


@pytest.fixture
def registry(server: Server, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Registry:
    # MLflow sets the variable too, for good.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    mlflow.set_tracking_uri(server.uri)
    return Registry(request.node.originalname, lease=2.0)


def version(registry: Registry, digest: str) -> Version:
    """A version of a model that is nothing but a name."""
    client = MlflowClient()
    run = client.create_run("0")
    model = client.create_logged_model("0", name="model", source_run_id=run.info.run_id)
    client.finalize_logged_model(model.model_id, "READY")
    return registry.register(f"models:/{model.model_id}", run.info.run_id, digest)


def test_one_of_many_first_promotions_wins(server: Server, registry: Registry) -> None:
    versions = [version(registry, f"v{number}") for number in range(CONTENDERS)]
    assert registry.champion() is None
    won = race(server.uri, registry.name, versions)
    assert sum(won) == 1
    champion = registry.champion()
    assert champion is not None
    assert champion.number == versions[won.index(True)].number


def test_one_of_many_wins_over_a_champion(server: Server, registry: Registry) -> None:
    champion, *rivals = [version(registry, f"v{number}") for number in range(CONTENDERS + 1)]
    assert registry.move(champion, None)
    won = race(server.uri, registry.name, rivals)
    assert sum(won) == 1
    now = registry.champion()
    assert now is not None
    assert now.number == rivals[won.index(True)].number
    # Who lost judges against the new champion, and may then win.
    assert registry.move(rivals[won.index(False)], now)


def test_a_holder_that_died_is_waited_for_and_passed_over(registry: Registry) -> None:
    first, second = version(registry, "first"), version(registry, "second")
    assert registry.move(first, None)
    dead = registry.lease.held()
    dead.__enter__()
    assert registry.move(second, first)
    assert champion_of(registry) == second.number
    # It wakes up and returns a lease that is no longer the last: that frees nothing.
    dead.__exit__(None, None, None)
    assert registry.move(first, second)


def test_two_promotions_and_a_rollback_at_once_have_one_winner(server: Server, registry: Registry) -> None:
    before, champion, *rivals = [version(registry, f"v{number}") for number in range(4)]
    assert registry.move(before, None)
    registry.tag(champion, **{BEFORE: before.number})
    assert registry.move(champion, before)
    # A rollback moves the alias to the version before, as the others do to theirs.
    contenders = [*rivals, before]
    won = race(server.uri, registry.name, contenders)
    assert sum(won) == 1
    assert champion_of(registry) == contenders[won.index(True)].number


def test_promotions_go_on_when_the_first_versions_run_is_deleted(registry: Registry) -> None:
    """The lease was once kept in that run: every later promotion waited for ever."""
    first, second = version(registry, "first"), version(registry, "second")
    assert registry.move(first, None)
    registry.client.delete_run(registry.client.get_model_version(registry.name, first.number).run_id)
    assert registry.move(second, first)
    assert champion_of(registry) == second.number


def test_promotions_go_on_when_the_lease_is_deleted_and_restored(server: Server, registry: Registry) -> None:
    first, second, third, *rivals = [version(registry, f"v{number}") for number in range(6)]
    assert registry.move(first, None)
    (lease,) = lease_runs(registry)
    registry.client.delete_run(lease)
    assert registry.move(second, first)
    (new,) = lease_runs(registry)
    assert new != lease
    registry.client.restore_run(lease)
    assert registry.move(third, second)
    won = race(server.uri, registry.name, rivals)
    assert sum(won) == 1
    # The restored run is not used again.
    assert registry.lease._run(time.monotonic() + 5) == new


@pytest.mark.parametrize("everything", [False, True])
def test_promotions_go_on_after_garbage_collection(
    server: Server, registry: Registry, everything: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = [version(registry, f"v{number}{everything}") for number in range(3)]
    assert registry.move(first, registry.champion())
    client = registry.client
    (lease,) = lease_runs(registry)
    if everything:
        client.delete_experiment(client.get_run(lease).info.experiment_id)
        assert registry.move(second, first)
    else:
        client.delete_run(lease)
    collect_garbage(server)
    monkeypatch.setattr(lease_module, "_CREATING", 0.5)
    assert registry.move(third, registry.champion())
    assert champion_of(registry) == third.number


def test_a_lease_that_is_never_free_is_an_error_that_says_what_to_do(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = version(registry, "first")
    monkeypatch.setattr(lease_module, "_PATIENCE", 0.2)
    with registry.lease.held(), pytest.raises(ServingError, match="run it again when they have") as caught:
        registry.move(first, None)
    assert lease_runs(registry)[0] in str(caught.value)
    assert exit_status(caught.value) == TRANSIENT


def test_a_lease_that_cannot_be_made_is_an_error_and_no_endless_wait(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = version(registry, "first")
    monkeypatch.setattr(lease_module, "_PATIENCE", 0.2)
    # A name that the server takes for no experiment.
    monkeypatch.setattr(registry.lease, "_title", lambda number: "x" * 600)
    with pytest.raises(ServingError, match=r"the promotion lease of .* cannot be made: .*name") as caught:
        registry.move(first, None)
    assert exit_status(caught.value) == TRANSIENT


def test_promotions_go_on_beside_a_thousand_newer_experiments(server: Server, registry: Registry) -> None:
    """MLflow lists 1,000 at once, the newest first: the lease was not among them."""
    first, second = version(registry, "first"), version(registry, "second")
    assert registry.move(first, None)
    rows = [{"id": 10**6 + number, "name": f"sweep {number}", "time": 2 * 10**12} for number in range(1000)]
    columns = "experiment_id, name, lifecycle_stage, creation_time, last_update_time"
    insert = f"INSERT INTO experiments ({columns}) VALUES (:id, :name, 'active', :time, :time)"
    engine = sqlalchemy.create_engine(server.store)
    with engine.begin() as store:
        store.execute(sqlalchemy.text(insert), rows)
    try:
        assert registry.move(second, first)
        assert len(lease_runs(registry)) == 1
    finally:
        with engine.begin() as store:
            store.execute(sqlalchemy.text("DELETE FROM experiments WHERE experiment_id >= 1000000"))
        engine.dispose()


def test_decisions_on_the_same_images_are_counted(registry: Registry) -> None:
    run_id = registry.client.get_model_version(registry.name, version(registry, "v").number).run_id
    images = image_set.of_ids(f"{number:016x}" for number in range(1000))
    assert ledger.decisions(registry, images) == 0
    assert [ledger.take(registry, images, run_id) for _ in range(3)] == [1, 2, 3]
    assert ledger.decisions(registry, images) == 3
    # Of these, one in ten is new: 3 decisions on the others, 2.7 on average.
    grown = image_set.of_ids(f"{number:016x}" for number in range(100, 1100))
    assert ledger.decisions(registry, grown) == 3
    replaced = image_set.of_ids(f"{number:016x}" for number in range(900, 1900))
    assert ledger.take(registry, replaced, run_id) == 2
    assert ledger.decisions(registry, image_set.of_ids(["f" * 16])) == 0
    # Where the list of the images is lost, they count as the same.
    registry.client.set_registered_model_tag(registry.name, "decisions.0000000000000000", "5 gone")
    assert ledger.decisions(registry, image_set.of_ids(["f" * 16])) == 5
    # A champion that has seen every test image.
    assert ledger.decisions(registry, image_set.of_ids([])) == 0


def test_lists_of_earlier_decisions_are_downloaded_before_the_lease(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of them took longer than the lease lasts, and two promotions were given one number."""
    version(registry, "first")
    run_id = registry.client.create_run("0").info.run_id
    assert ledger.take(registry, image_set.of_ids(["a" * 16, "b" * 16]), run_id) == 1
    events: list[str] = []

    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*words: Any) -> Any:
            events.append(name)
            return call(*words)

        return noting

    download, held = registry.client.download_artifacts, registry.lease.held
    monkeypatch.setattr(registry.client, "download_artifacts", noted("download", download))
    monkeypatch.setattr(registry.lease, "held", noted("lease", held))
    assert ledger.take(registry, image_set.of_ids(["a" * 16, "b" * 16, "c" * 16]), run_id) == 2
    assert events == ["download", "lease"]


def champion_of(registry: Registry) -> str:
    champion = registry.champion()
    assert champion is not None
    return champion.number


def lease_runs(registry: Registry) -> list[str]:
    """The active runs that hold leases of this model, the newest first."""
    named = registry.client.search_experiments(filter_string=f"name LIKE 'promotion lease: {registry.name}%'")
    runs = registry.client.search_runs([experiment.experiment_id for experiment in named])
    return [run.info.run_id for run in sorted(runs, key=lambda run: -int(run.info.start_time))]


def collect_garbage(server: Server) -> None:
    words = [str(Path(sys.executable).with_name("mlflow")), "gc", "--backend-store-uri", server.store]
    environment = os.environ | {"MLFLOW_TRACKING_URI": server.uri}
    subprocess.run([*words, "--tracking-uri", server.uri], check=True, capture_output=True, env=environment)


def test_versions_are_found_by_what_they_are(registry: Registry) -> None:
    assert registry.find("a") is None
    first, second = version(registry, "a"), version(registry, "b")
    assert registry.find("a") == first
    assert registry.get(second.number) == second
    with pytest.raises(ServingError, match=f"models:/{registry.name}/99 is not in the registry"):
        registry.get("99")


def test_a_version_has_a_description_metrics_and_tags(registry: Registry) -> None:
    run = registry.client.create_run("0")
    model = registry.client.create_logged_model("0", name="model", source_run_id=run.info.run_id)
    registry.client.finalize_logged_model(model.model_id, "READY")
    uri, figures = f"models:/{model.model_id}", {"test.accuracy": 0.9, "test.log_loss": 0.3}
    registered = registry.register(uri, run.info.run_id, "d", figures, {"git.commit": "abc"})
    registry.describe(registered, "| member | accuracy |")
    version = registry.client.get_model_version(registry.name, registered.number)
    assert version.description == "| member | accuracy |"
    assert version.tags == {"git.commit": "abc", "digest": "d"}
    logged = registry.client.get_logged_model(version.source.removeprefix("models:/"))
    assert {metric.key: metric.value for metric in logged.metrics} == figures
    assert registry.client.get_run(run.info.run_id).data.metrics == figures


def test_a_champion_that_does_not_exist_is_one_line_with_the_version_to_name(registry: Registry) -> None:
    uri = f"models:/{registry.name}@champion"
    with pytest.raises(ServingError, match=r"has no champion and no version$"):
        check_champion(uri)
    newest = [version(registry, digest) for digest in "ab"][-1]
    with pytest.raises(ServingError, match=rf"has no champion: name a version, such as {newest.uri}$"):
        check_champion(uri)
    assert registry.move(newest, None)
    check_champion(uri)
    check_champion("models:/m-1")
