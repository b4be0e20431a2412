"""Stages with a Dask scheduler and two workers, each a process with a folder of its own."""

import os
import resource
import shutil
import signal
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from stages.common import executor, log
from stages.common.errors import TransientError, WorkerError
from stages.common.executor import LOCAL
from stages.common.files import write_json
from stages.data import candidates, portions
from stages.data.sources import Image
from stages.extract import extract
from stages.models import learners, predicting
from stages.models.extractors import hog
from stages.params import Predict, Resize
from stages.predict import predict
from tests import members, networks
from tests.paths import ROOT
from tests.project import Project, visible, write_images

pytest.importorskip("distributed", reason="the extra `dask` is not installed")
from distributed import Client

from stages.common import dask_workers
from tests.common.cluster import PATIENCE, Cluster

pytestmark = pytest.mark.slow

SIZE: dict[str, Any] = {"size": [32, 32], "keep_aspect": True, "color": "rgb", "quality": "exact"}
CENTER = Predict(crops="center")
IMAGES = 640
# Batches of 16 that may be open when the source has been read up to an image: those of three threads.
OPEN = 16 * 3 * dask_workers._CALLS_PER_WORKER_THREAD * dask_workers._Workers.ahead


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    cluster.complete()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, one of which is none."""
    folder = write_images(tmp_path_factory.mktemp("source"), {"cat": IMAGES // 2, "dog": IMAGES // 2})
    (folder / "cat" / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Project:
    """What the stages write without workers."""
    project = Project(tmp_path_factory.mktemp("threads"), source)
    run(project)
    return project


@pytest.fixture(scope="module")
def by_threads(project: Project) -> dict[str, str]:
    """The digests of what the stages write without workers."""
    return visible(project)


@pytest.fixture
def workers(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, image_results: Path) -> Cluster:
    """Both workers, and an empty store of image results; stages of this test use them."""
    cluster.complete()
    monkeypatch.setenv(executor.VARIABLE, cluster.address)
    # A stage here is as patient as the cluster: with its own 15 s a test failed on a busy machine.
    monkeypatch.setattr(dask_workers, "_SECONDS_TO_CONNECT", float(PATIENCE))
    return cluster


def run(project: Project) -> None:
    """Ingest, audit, resize, extract and predict; `resize` decodes again."""
    ingest(project)
    project.audit()
    project.resize(**SIZE | {"quality": "fast"})
    project.mean()
    project.pack()
    params = hog.Params(kind="hog", cell=8, block=2, bins=9)
    features = project.root / "features"
    extract("hog", params=params, packed=project.packed, features=features)
    # Its file has the time in it.
    member = members.fitted(features, project.root / ".member")
    predictions = project.root / "predictions"
    predict("one", params=CENTER, model=member, data=features, predictions=predictions)


def ingest(project: Project) -> None:
    project.ingest(ahead=Resize(**SIZE), max_reject_fraction=0.1)


def decoded(caplog: pytest.LogCaptureFixture) -> int:
    """How many images `ingest` had decoded."""
    (record,) = (record for record in caplog.records if record.getMessage() == "ingested_images")
    return int(vars(record)["fields"]["decoded"])


@pytest.fixture
def at_image(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """A function that has something happen, once, when ingest comes to an image of the source."""
    batches = candidates.batches

    def happen(number: int, event: Callable[[], None]) -> None:
        events = [event]

        def images(source: Iterator[Image]) -> Iterator[Image]:
            for place, image in enumerate(source):
                if place == number and events:
                    events.pop()()
                yield image

        monkeypatch.setattr(candidates, "batches", lambda source: batches(images(source)))

    return happen


def test_outputs_are_those_of_threads(
    tmp_path: Path, source: Path, workers: Cluster, by_threads: dict[str, str]
) -> None:
    project = Project(tmp_path, source)
    run(project)
    assert visible(project) == by_threads
    assert not list(workers.folder.rglob("*.h5"))


def test_a_worker_with_a_full_disk_decodes(
    tmp_path: Path, source: Path, workers: Cluster, by_threads: dict[str, str]
) -> None:
    # A process that may write no byte into a file.
    first = psutil.Process(workers.processes["first"].pid)
    first.rlimit(psutil.RLIMIT_FSIZE, (0, first.rlimit(psutil.RLIMIT_FSIZE)[1]))
    project = Project(tmp_path, source)
    try:
        ingest(project)
    finally:
        workers.stop("first")
    assert visible(project).items() <= by_threads.items()


def test_a_full_disk_that_takes_no_model_is_transient(project: Project) -> None:
    predictor = predicting.Predictor(LOCAL, project.root / ".member", None)
    files = predictor._packed()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(TransientError, match=r"cannot write the member into /\S+: File too large; free"):
            predicting.probabilities(np.zeros((1, 2)), "another key", None, files)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_a_network_predicts_on_workers_as_in_threads(
    tmp_path: Path, project: Project, workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several calls for each worker.
    monkeypatch.setattr(portions, "_MAX_ROWS", 16)
    member = tmp_path / "member"
    member.mkdir()
    network, *_ = networks.fitted(project.packed, train={"epochs": 1, "batch_size": 64})
    network.save(member)
    write_json(member / learners.SPEC, {"kind": "cnn"})
    place: dict[str, Any] = {"model": member, "data": project.packed}
    predict("one", params=CENTER, predictions=tmp_path / "by_workers", **place)
    monkeypatch.delenv(executor.VARIABLE)
    predict("one", params=CENTER, predictions=tmp_path / "by_threads", **place)
    for split in ("val", "test"):
        first, second = (tmp_path / way / f"{split}.h5" for way in ("by_workers", "by_threads"))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("names", [["first"], ["first", "second"]])
def test_each_worker_is_sent_the_member_once(
    tmp_path: Path, project: Project, workers: Cluster, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    """All threads of the stage ask at once, before a worker has the member."""
    sent: list[str] = []
    submit = Client.submit

    def count(
        client: Any, function: Any, work: Any, called: Any, args: Any, *rest: Any, **options: Any
    ) -> Any:
        sent.extend(options.get("workers", ["any"])[0] for value in args if isinstance(value, bytes))
        return submit(client, function, work, called, args, *rest, **options)

    monkeypatch.setattr(Client, "submit", count)
    monkeypatch.setattr(portions, "_MAX_ROWS", 4)
    if names == ["first"]:
        workers.stop("second")
    predict(
        "one",
        params=CENTER,
        model=project.root / ".member",
        data=project.root / "features",
        predictions=tmp_path / "predictions",
    )
    assert len(sent) == len(set(sent)) <= len(names)
    assert sent


def test_all_ports_are_those_of_the_loopback_interface(workers: Cluster) -> None:
    for process in workers.processes.values():
        listening = [
            port.laddr.ip
            for port in psutil.Process(process.pid).net_connections("inet")
            if port.status == psutil.CONN_LISTEN
        ]
        assert set(listening) == {"127.0.0.1"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_dead_worker_costs_its_open_calls_only(
    tmp_path: Path,
    source: Path,
    workers: Cluster,
    by_threads: dict[str, str],
    at_image: Callable[[int, Callable[[], None]], None],
    number: signal.Signals,
    caplog: pytest.LogCaptureFixture,
) -> None:
    at_image(400, partial(workers.signal, "first", number))
    project = Project(tmp_path, source)
    try:
        with caplog.at_level("INFO"):
            ingest(project)
    finally:
        workers.stop("first")
    assert decoded(caplog) == IMAGES
    outputs = visible(project)
    assert outputs
    assert outputs.items() <= by_threads.items()
    (removed,) = (record for record in caplog.records if record.getMessage() == "removed_worker")
    assert vars(removed)["fields"]["open_calls"] <= 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSTOP], ids=["ended", "stopped"])
def test_a_scheduler_that_is_lost_is_transient_and_the_next_try_resumes(
    tmp_path: Path,
    source: Path,
    workers: Cluster,
    by_threads: dict[str, str],
    at_image: Callable[[int, Callable[[], None]], None],
    number: signal.Signals,
    caplog: pytest.LogCaptureFixture,
) -> None:
    at_image(500, partial(workers.signal, "scheduler", number))
    project = Project(tmp_path, source)
    lost = r"the Dask scheduler at tcp://\S+ (ended|does not answer).*run again"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dask_workers, "_SECONDS_BETWEEN_CHECKS", 0.2)
        patch.setattr(dask_workers, "_SECONDS_TO_ANSWER", 1.0)
        patch.setattr(dask_workers, "_SECONDS_TO_CONNECT", 1.0)
        with pytest.raises(TransientError, match=lost):
            ingest(project)
        assert visible(project) == {}
        workers.stop()
        with pytest.raises(TransientError, match="no Dask scheduler answers at tcp://"):
            ingest(project)

    workers.start_scheduler()
    workers.start_worker("second")
    workers.wait(1)
    with caplog.at_level("INFO"):
        ingest(project)
    assert 0 < decoded(caplog) <= IMAGES - (500 - OPEN)
    assert visible(project).items() <= by_threads.items()


def test_a_worker_with_other_code_is_refused(tmp_path: Path, source: Path, workers: Cluster) -> None:
    shutil.copytree(ROOT / "stages", tmp_path / "code" / "stages")
    edited = tmp_path / "code" / "stages" / "data" / "profile.py"
    text = edited.read_text(encoding="utf-8")
    edited.write_text(f"{text}\n# Another version.\n", encoding="utf-8")
    workers.start_worker("other", tmp_path / "code")
    workers.wait(3)
    refused = r"worker other of tcp://\S+ is no copy of this stage: code\.stages/data/profile\.py is"
    try:
        with pytest.raises(WorkerError, match=refused):
            ingest(Project(tmp_path, source))
        # What the worker has loaded counts, not what its files have become.
        edited.write_text(text, encoding="utf-8")
        with pytest.raises(WorkerError, match=refused):
            ingest(Project(tmp_path, source))
    finally:
        workers.stop("other")


def test_lines_and_errors_of_a_worker_reach_the_stage(
    workers: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = types.ModuleType("only_the_stage_has_it")
    exec("def function(): pass", vars(missing))
    monkeypatch.setitem(sys.modules, missing.__name__, missing)
    with executor.opened(dict) as pool:
        pool.call(log.warning, "repaired_image", image="a.jpg")
        with pytest.raises(ValueError, match="invalid literal"):
            pool.call(int, "a bug")
        with pytest.raises(WorkerError, match="cannot import only_the_stage_has_it"):
            pool.call(missing.function)
    (line,) = (record for record in caplog.records if record.getMessage() == "repaired_image")
    assert vars(line)["fields"]["image"] == "a.jpg"
    assert vars(line)["fields"]["worker"] in ("first", "second")


def test_a_call_that_kills_its_workers_is_transient(workers: Cluster) -> None:
    with (
        pytest.raises(TransientError, match="workers died during the same call"),
        executor.opened(dict) as pool,
    ):
        pool.call(os._exit, 1)
    workers.stop("first", "second")


def test_a_scheduler_without_workers_is_transient(workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    workers.stop("first", "second")
    monkeypatch.setattr(dask_workers, "_SECONDS_WITHOUT_WORKERS", 0.5)
    with pytest.raises(TransientError, match="has no worker; start one there"), executor.opened(dict):
        pass
