import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.postgres import DEADLOCK_TIMEOUT
from tests.docker.conftest import ROOT
from tests.docker.stack import AWKWARD, settings

SECRETS = ("PASSWORD", "KEY", "SECRET")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of docker/ in a repository of its own, with a `docker` that only knows its version."""
    shutil.copytree(
        ROOT / "docker", tmp_path / "repository" / "docker", ignore=shutil.ignore_patterns(".env*")
    )
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path / "repository", check=True)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "docker").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    (programs / "docker").chmod(0o755)
    return tmp_path / "repository"


def _up(checkout: Path, **variables: str) -> str:
    done = _ran(checkout, "docker/up.sh", folder=checkout, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _ran(checkout: Path, *words: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{checkout.parent / 'programs'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "HOME": str(checkout.parent), "PATH": path, **variables}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _composed(checkout: Path, *more: str) -> dict[str, Any]:
    if not shutil.which("docker-compose"):
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    files = [word for name in ("compose.yaml", *more) for word in ("--file", f"docker/{name}")]
    words = ["docker-compose", *files, "--env-file", str(_env(checkout)), "config"]
    environment = {**os.environ, "COMPOSE_PROJECT_NAME": "convoy"}
    done = subprocess.run(words, cwd=checkout, env=environment, check=True, capture_output=True, text=True)
    composed: dict[str, Any] = yaml.safe_load(done.stdout)
    return composed


def _env(checkout: Path) -> Path:
    return checkout.parent / ".config" / "convoy" / "convoy.env"


def test_the_first_start_makes_passwords_that_nobody_else_reads_and_keeps_them(checkout: Path) -> None:
    output = _up(checkout)
    values = settings(_env(checkout))
    secrets = [value for name, value in values.items() if name.endswith(SECRETS)]
    assert _env(checkout).stat().st_mode & 0o777 == 0o600
    assert len(set(secrets)) == len(secrets) == 8
    assert min(map(len, secrets)) >= 32
    assert values["AIRFLOW_ADMIN_PASSWORD"] in output
    assert _up(checkout) == output


def test_no_password_is_in_the_repository_which_containers_see(checkout: Path) -> None:
    _up(checkout)
    texts = [path.read_bytes() for path in checkout.rglob("*") if path.is_file()]
    for name, value in settings(_env(checkout)).items():
        if name.endswith(SECRETS):
            assert not any(value.encode() in text for text in texts), name


def test_passwords_of_an_earlier_version_are_moved_out_of_the_repository(checkout: Path) -> None:
    old = {"CONVOY_HOME": str(checkout / ".convoy"), "CONVOY_UID": "1000", "AIRFLOW_ADMIN_PASSWORD": "old"}
    text = "".join(f"{name}={value}\n" for name, value in old.items())
    (checkout / "docker" / ".env").write_text(text, encoding="utf-8")
    output = _up(checkout)
    assert not (checkout / "docker" / ".env").exists()
    assert "admin  old" in output
    values = settings(_env(checkout))
    assert values.items() >= old.items()
    assert values["CONVOY_DATA"] == str(checkout / "datasets")
    assert len(values["MLFLOW_STAGES_PASSWORD"]) >= 32


def test_a_home_with_a_blank_and_an_awkward_password_reach_the_services(checkout: Path) -> None:
    home = checkout.parent / "a home"
    _up(checkout, CONVOY_HOME=str(home))
    assert home.is_dir()
    path = _env(checkout)
    text = path.read_text("utf-8").replace("POSTGRES_PASSWORD='", f"POSTGRES_PASSWORD='{AWKWARD}")
    path.write_text(text, encoding="utf-8")
    assert _up(checkout, CONVOY_HOME="ignored later")
    services = _composed(checkout)["services"]
    password = settings(path)["POSTGRES_PASSWORD"]
    assert password.startswith(AWKWARD)
    for name in ("postgres", "mlflow", "scheduler"):
        variables = services[name]["environment"]
        # `config` prints $ as $$.
        assert password in [str(value).replace("$$", "$") for value in variables.values()], name
        assert not any("://" in str(value) and AWKWARD[:3] in str(value) for value in variables.values())
    assert any(
        mount["source"] == str(home) for mount in services["scheduler"]["volumes"] if isinstance(mount, dict)
    )


@pytest.mark.parametrize("path", ["/a'b", "/a${HOME}", r"/a\\b"])
def test_a_path_that_debians_compose_would_read_otherwise_is_refused(checkout: Path, path: str) -> None:
    home = f"{checkout.parent}{path}"
    done = _ran(checkout, "docker/up.sh", folder=checkout, CONVOY_HOME=home)
    assert done.returncode == 1
    reason = "neither a single quote nor ${ nor a doubled backslash is allowed in it"
    assert done.stderr == f"error: CONVOY_HOME is {home}; {reason}\n"
    assert not _env(checkout).exists()


def test_services_get_the_secrets_of_the_file_whatever_the_shell_has(checkout: Path) -> None:
    if not shutil.which("docker-compose"):
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    _up(checkout)
    secrets = {name: value for name, value in settings(_env(checkout)).items() if name.endswith(SECRETS)}
    # Without the plugin, so that Debian's Compose is called.
    (checkout.parent / "programs" / "docker").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    shell = dict.fromkeys((*secrets, *keys), "of the shell") | {"KERAS_BACKEND": "jax"}
    done = _ran(checkout, "docker/compose.sh", "config", folder=checkout, **shell)
    assert done.returncode == 0, done.stderr
    assert "of the shell" not in done.stdout
    assert [name for name, value in secrets.items() if value not in done.stdout] == []
    assert "KERAS_BACKEND: jax" in done.stdout


def test_relative_paths_are_below_the_callers_folder(checkout: Path) -> None:
    folder, paths = checkout.parent, {"CONVOY_ENV": "a file.env", "CONVOY_HOME": "a home"}
    before = set((checkout / "docker").iterdir())
    up = _ran(checkout, "repository/docker/up.sh", folder=folder, **paths)
    assert up.returncode == 0, up.stderr
    assert settings(folder / "a file.env")["CONVOY_HOME"] == str(folder / "a home")
    assert (folder / "a home").is_dir()
    compose = _ran(checkout, "repository/docker/compose.sh", "ps", folder=folder, **paths)
    assert compose.returncode == 0, compose.stderr
    assert set((checkout / "docker").iterdir()) == before


@pytest.mark.parametrize("home", [".", ".."])
def test_a_home_that_holds_the_repository_or_the_images_is_refused(checkout: Path, home: str) -> None:
    """A stage, which writes to it, could have changed .git and exchanged the images for a link."""
    done = _ran(checkout, "docker/up.sh", folder=checkout, CONVOY_HOME=home)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: CONVOY_HOME is {checkout}/{home}, which holds {checkout}/.git; ")
    assert not _env(checkout).exists()


@pytest.mark.parametrize("name", ["my.env", "docker/my.env", ".convoy/my.env", "../repository/.git/my.env"])
def test_a_file_of_passwords_in_the_repository_is_refused(checkout: Path, name: str) -> None:
    done = _ran(checkout, "docker/up.sh", folder=checkout, CONVOY_ENV=name)
    assert done.returncode == 1
    message = f"error: CONVOY_ENV is {checkout}/{name}, inside of the repository, which git and stages read; "
    assert done.stderr == f"{message}name one outside\n"
    assert not (checkout / name).exists()


def test_postgresql_can_read_its_script_in_a_checkout_under_umask_077(checkout: Path) -> None:
    (checkout / "docker" / "postgres.sh").chmod(0o700)
    _up(checkout)
    assert (checkout / "docker" / "postgres.sh").stat().st_mode & 0o005 == 0o005


def test_ports_are_open_to_this_machine_alone(checkout: Path) -> None:
    _up(checkout)
    services = _composed(checkout)["services"]
    ports = [str(port) for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_only_the_proxy_has_the_engine_and_only_the_scheduler_the_proxy(checkout: Path) -> None:
    _up(checkout)
    services = _composed(checkout)["services"]
    assert {name for name, service in services.items() if "docker.sock" in str(service.get("volumes"))} == {
        "proxy"
    }
    assert {name for name, service in services.items() if "engine" in service["networks"]} == {
        "proxy",
        "scheduler",
    }
    # What a stage's container can reach.
    assert {name for name, service in services.items() if "tasks" in service["networks"]} == {"mlflow"}


def test_no_service_has_capabilities_but_those_that_start_postgresql(checkout: Path) -> None:
    _up(checkout)
    for name, service in _composed(checkout)["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert bool(service.get("cap_add")) == (name == "postgres"), name


def test_every_service_has_bounds(checkout: Path) -> None:
    _up(checkout)
    for name, service in _composed(checkout)["services"].items():
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert service["read_only"] is True, name
        once = name in ("database-rights", "migrate", "mlflow-user")
        assert service["restart"] == ("no" if once else "unless-stopped"), name


def test_stages_do_not_get_the_password_of_mlflows_admin(checkout: Path) -> None:
    _up(checkout)
    services = _composed(checkout)["services"]
    variables, values = services["scheduler"]["environment"], settings(_env(checkout))
    assert variables["MLFLOW_TRACKING_USERNAME"] == "stages"
    assert variables["MLFLOW_TRACKING_PASSWORD"] == values["MLFLOW_STAGES_PASSWORD"]
    assert values["MLFLOW_ADMIN_PASSWORD"] not in variables.values()


def test_the_login_of_an_artifact_store_reaches_mlflow_alone(checkout: Path) -> None:
    _up(checkout)
    login = {"AWS_ACCESS_KEY_ID": "robot", "AWS_SECRET_ACCESS_KEY": "hunter2"}
    store = login | {"MLFLOW_S3_ENDPOINT_URL": "https://s3.example.com", "MLFLOW_ARTIFACTS": "s3://bucket/a"}
    # MLflow refuses an empty address.
    assert _composed(checkout)["services"]["mlflow"]["environment"]["MLFLOW_S3_ENDPOINT_URL"] is None
    with _env(checkout).open("a", encoding="utf-8") as file:
        file.writelines(f"{name}='{value}'\n" for name, value in store.items())
    services = _composed(checkout)["services"]
    assert services["mlflow"]["environment"].items() >= store.items()
    assert [name for name, service in services.items() if "hunter2" in str(service)] == ["mlflow"]


def test_the_api_alone_waits_longer_for_a_deadlock_and_may_do_so(checkout: Path) -> None:
    _up(checkout)
    services = _composed(checkout)["services"]
    patient = {name for name, service in services.items() if "PGOPTIONS" in service.get("environment", {})}
    assert patient == {"airflow"}
    assert services["airflow"]["environment"].items() >= DEADLOCK_TIMEOUT.items()
    assert services["airflow"]["environment"].items() > services["scheduler"]["environment"].items()
    # PostgreSQL refuses the connection of a role that may not set what it asks for.
    assert "database-rights" in services["migrate"]["depends_on"]
    assert "migrate" in services["airflow"]["depends_on"]


def test_webhook_clock_and_approval_reach_the_tasks_and_the_webhook_gets_out(checkout: Path) -> None:
    _up(checkout)
    with _env(checkout).open("a", encoding="utf-8") as file:
        file.write(
            "CONVOY_WEBHOOK='https://chat.example.com/hook?a=1&b=2'\nCONVOY_RETRAIN_CRON='0 3 * * *'\n"
            "CONVOY_CLEAN_UP_CRON='0 4 1 * *'\n"
            "CONVOY_APPROVAL='1'\n"
        )
    composed = _composed(checkout)
    for name in ("scheduler", "dag-processor"):
        variables = composed["services"][name]["environment"]
        assert variables["CONVOY_WEBHOOK"] == "https://chat.example.com/hook?a=1&b=2"
        assert variables["CONVOY_RETRAIN_CRON"] == "0 3 * * *"
        assert variables["CONVOY_CLEAN_UP_CRON"] == "0 4 1 * *"
        assert variables["CONVOY_APPROVAL"] == "1"
    networks = composed["services"]["scheduler"]["networks"]
    assert any(not (composed["networks"][name] or {}).get("internal") for name in networks)


def test_a_slow_machine_has_minutes_to_start(checkout: Path) -> None:
    _up(checkout)
    services = _composed(checkout)["services"]
    waited_for = {name for service in services.values() for name in service.get("depends_on", {})}
    for name in waited_for & {"postgres", "scheduler"}:
        assert services[name]["healthcheck"]["start_period"] in ("600s", "10m", "10m0s"), name
    for image in ("airflow", "mlflow"):
        assert "--start-period=600s" in (ROOT / "docker" / f"{image}.Dockerfile").read_text("utf-8")


def test_workers_for_the_data_stages_have_the_same_bounds_and_publish_no_port(checkout: Path) -> None:
    _up(checkout)
    services = _composed(checkout, "compose.dask.yaml")["services"]
    for name in ("dask-scheduler", "dask-worker"):
        service = services[name]
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert set(service["networks"]) == {"tasks"}, name
        assert "ports" not in service, name
    variables = services["scheduler"]["environment"]
    assert variables["CONVOY_DASK"] == "tcp://dask-scheduler:8786"
    # The others of compose.yaml are passed on as before.
    before = _composed(checkout)["services"]["scheduler"]["environment"]["CONVOY_PASSES"]
    assert variables["CONVOY_PASSES"] == f"{before},CONVOY_DASK"
