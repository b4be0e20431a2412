"""What tests of all rooms share: projects, tracking stores, a browser, and what each test starts from."""

import gc
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stages import cli
from stages.common import log
from stages.data import results_store
from stages.extract import extract
from stages.models.extractors import pixels
from tests import browser as browsing
from tests.project import Images, Project, write_images

MakeRun = Callable[..., Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Choose what is traced for coverage, as a tracer doubles a test's time.

    Untraced are slow tests of the stages, and all cases of a test but the first: both run lines that others
    run as well, all but 1 % of them.
    """
    pipelines = Path(__file__).parent / "pipelines"
    traced = set()
    for item in items:
        function = (item.path, getattr(item, "originalname", item.name))
        slow_stage = item.get_closest_marker("slow") and pipelines not in item.path.parents
        if function in traced or slow_stage:
            item.add_marker("no_cover")
        traced.add(function)


def pytest_collection_finish() -> None:
    """Exempt what the modules of tests have imported from garbage collection: an eighth of some tests."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """End the process without a last collection, which takes up to ten seconds after trainings."""
    gc.freeze()


@pytest.fixture(scope="module")
def browser() -> Iterator[browsing.Browser]:
    """A Chromium for all tests of a file: starts took half of their time."""
    with browsing.started() as browser:
        yield browser


@pytest.fixture(autouse=True)
def restored_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a test's command lines set: where the log goes, and whether tracebacks are shown."""
    monkeypatch.setattr(log._LOGGER, "handlers", [])
    monkeypatch.setattr(log._LOGGER, "propagate", True)
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "")


@pytest.fixture(scope="session", autouse=True)
def session_results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A store of image results for shared fixtures; the workspace's own is neither used nor filled."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv(results_store.FOLDER_VARIABLE, str(tmp_path_factory.mktemp("session_results")))
        yield


@pytest.fixture(autouse=True)
def image_results(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store of image results for each test."""
    folder = tmp_path_factory.mktemp("image_results")
    monkeypatch.setenv(results_store.FOLDER_VARIABLE, str(folder))
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """The function `write_images`, writing into this test's own folder `source` unless another is named."""

    def write(classes: Mapping[str, int] | None = None, root: Path | None = None, **options: Any) -> Path:
        return write_images(root or tmp_path / "source", classes or {"cat": 10, "dog": 10}, **options)

    return write


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of this test's own; its source is the folder that `images` writes to."""
    return Project(tmp_path, tmp_path / "source")


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three classes of 20 images (20x24), packed at 16x16 RGB. Shared by all tests: read only."""
    root = tmp_path_factory.mktemp("packed")
    project = Project(root, write_images(root / "source", {"cat": 20, "dog": 20, "panda": 20}))
    project.ingest()
    project.resize()
    project.mean()
    project.pack()
    return project


@pytest.fixture(scope="session")
def features(packed: Project) -> Path:
    """The pixels of `packed` as features, one HDF5 file per split. Shared by all tests: read only."""
    folder = packed.root / "features" / "pixels"
    extract("pixels", params=pixels.Params(kind="pixels"), packed=packed.packed, features=folder)
    return folder


@pytest.fixture(scope="session")
def tracking_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with one commit. Making MLflow's tables in it takes seconds, so it is shared."""
    root = tmp_path_factory.mktemp("tracked")
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "First"]):
        subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b", *words], cwd=root, check=True)
    return root


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables and no run. Making it takes MLflow a second, copying it nothing."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(scope="module")
def tracked(tracking_store: Path) -> Iterator[Path]:
    """For one module of tests: that repository as working directory, runs tracked in its mlflow.db."""
    import mlflow

    uri = f"sqlite:///{tracking_store}/mlflow.db"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(tracking_store)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        # The variable is not enough: a store that an earlier module of this process set wins over it.
        mlflow.set_tracking_uri(uri)
        yield tracking_store


@pytest.fixture(scope="module")
def make_run(tracked: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """The function that returns a run of tests/runs.py on images of the given classes, in a new folder.

    Runs of the same classes and members are copies of one: drawing its figures took most of the time.
    """
    # Here, as it draws in matplotlib and MLflow.
    from tests.runs import Run

    runs: dict[str, Run] = {}

    def make(classes: Mapping[str, int] | None = None, members: Mapping[str, float] | None = None) -> Run:
        classes = classes or {"cat": 20, "dog": 20, "panda": 20}
        members = members or {"net": 0.9, "logistic": 0.8, "other": 0.7}
        key = repr((classes, members))
        if key not in runs:
            root = tmp_path_factory.mktemp("run")
            project = Project(root, write_images(root / "source", classes))
            # Images of one colour and noise are near duplicates of one another.
            project.ingest(near_duplicates={"distance": None})
            project.resize()
            project.mean()
            project.pack()
            runs[key] = Run(project, members)
        return runs[key].copied(tmp_path_factory.mktemp("run") / "copy")

    return make


@pytest.fixture
def operation_by_operation() -> Iterator[None]:
    """Let TensorFlow compute without graphs: for one step, tracing them takes most of the time."""
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow

    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)
    keras.utils.clear_session()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every download fails at once."""
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    # What urllib calls first is kept with the proxies of then, for all tests to come.
    monkeypatch.setattr(urllib.request, "_opener", None)


@pytest.fixture
def workshop(
    empty_database: Path, project: Project, images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The project of tests/workshop.py, split and packed, with an empty registry of its own."""
    # Here, as it draws in MLflow.
    from tests.workshop import CLASSES, Workshop

    monkeypatch.chdir(tmp_path)
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    images(dict.fromkeys(CLASSES, 40), size=(8, 8), noise=90)
    workshop = Workshop(project, tmp_path)
    workshop.split()
    return workshop
