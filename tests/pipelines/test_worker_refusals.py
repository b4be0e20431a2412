"""What the worker refuses: permanent errors, whose retry cannot help."""

import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.pipelines.conftest import Repository

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["base=-1"], "params.yaml: base is -1; must be positive"),
        (["recipe=smal"], "there is no recipe smal; did you mean small?"),
        (["nonsense=1"], "Could not override 'nonsense'"),
        (["models.*.depth=1"], "models.*.depth=1: these params have no models.*.depth"),
    ],
)
def test_params_that_are_not_allowed_are_refused(
    repository: Repository, overrides: list[str], says: str
) -> None:
    result, output = repository.work("plan", CONVOY_OVERRIDES=json.dumps(overrides), status=2)
    assert result["outcome"] == "refused"
    assert says in result["reason"]
    assert "Traceback" not in output
    assert "\n" not in result["reason"]


def test_a_check_that_failed_for_a_moment_is_worth_a_retry(repository: Repository) -> None:
    check = (
        'import sys\nprint("level=error event=\\"cat: Stale file handle\\"", file=sys.stderr)\nsys.exit(75)\n'
    )
    repository.write("stages/tools/check.py", check)
    repository.commit()
    result, _ = repository.work("plan", status=1)
    assert result["outcome"] == "failed"
    assert "Stale file handle" in result["reason"]


def test_a_mistyped_override_is_answered_with_the_nearest_key_in_an_image_too(
    repository: Repository, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.mkdir()
    for name in ("stages", "pipelines"):
        (image / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "hydra_plugins", repository.root / "hydra_plugins")
    repository.commit()
    words = [sys.executable, "-m", "pipelines.worker"]
    environment = repository.environment("plan", CONVOY_OVERRIDES='["models.a.train.epoch=3"]')
    done = subprocess.run(words, cwd=image, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "no such key; did you mean models.a.train.epochs?" in done.stdout


def test_an_unknown_commit_is_refused_and_an_unknown_repository_fails(repository: Repository) -> None:
    result, _ = repository.work("plan", CONVOY_COMMIT="0123456", status=2)
    assert "has no commit 0123456" in result["reason"]
    result, _ = repository.work("plan", CONVOY_REPOSITORY=str(repository.root / "none"), status=1)
    assert "does not exist" in result["reason"]
    with repository.start("stage") as process:
        assert process.communicate()[0] == "refused: CONVOY_STAGE is not set\n"
    assert process.returncode == 2
    result = json.loads((repository.shared / "result.json").read_text(encoding="utf-8"))
    assert (result["outcome"], result["reason"]) == ("refused", "CONVOY_STAGE is not set")
    result, _ = repository.work("plan", CONVOY_OVERRIDES="base=1", status=2)
    assert result["reason"] == "CONVOY_OVERRIDES is base=1; must be a JSON list of texts"


def test_a_stage_that_the_commit_does_not_have_is_refused(repository: Repository) -> None:
    result, output = repository.work("stage", CONVOY_STAGE="mean", CONVOY_PARAMS="base: 1\n", status=2)
    assert result["reason"] == "dvc.yaml of the run's commit has no stage mean; it has first, train, judge"
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stages:\n  base:\n   - cmd: [\n", "dvc.yaml, line 4, column 1: "),
        ("stages: {}\n", "dvc.yaml has no stages"),
        ("# Later.\n", "dvc.yaml has no stages"),
    ],
)
def test_a_dvc_yaml_that_cannot_be_read_is_refused(repository: Repository, text: str, says: str) -> None:
    repository.write("dvc.yaml", text)
    repository.commit()
    result, output = repository.work("plan", status=2)
    assert result["outcome"] == "refused"
    assert result["reason"].startswith(says)
    assert "Traceback" not in output


def test_a_wrong_login_is_refused_and_shown_nowhere(repository: Repository) -> None:
    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://robot:secret-token@127.0.0.1:{server.server_port}/project.git"
        result, output = repository.work("plan", CONVOY_REPOSITORY=url, status=2)
        server.shutdown()
    assert result["outcome"] == "refused"
    assert "Authentication failed" in result["reason"]
    assert "secret-token" not in output + json.dumps(result)


def test_a_remote_that_takes_no_run_cache_is_refused(repository: Repository) -> None:
    url = "https://example.com/cache"
    repository.write(".dvc/config", f"[core]\n    analytics = false\n['remote \"far\"']\n    url = {url}\n")
    repository.commit()
    for name, says in {"far": "over HTTP", "near": "has no such remote"}.items():
        repository.variables = {"CONVOY_CACHE": "", "CONVOY_REMOTE": name}
        result, _ = repository.work("plan", status=2)
        assert says in result["reason"]
