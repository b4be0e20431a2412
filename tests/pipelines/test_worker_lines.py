"""What the worker reads in the lines of other programs, and what it may not show."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipelines.worker import job, lines, memory, record
from pipelines.worker.lines import event_in, login_refused, mistake_in, without_login
from tests.common import test_redaction


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clone https://user:pass@git.example.com/a.git now", "clone https://git.example.com/a.git now"),
        ("https://token@a/b ssh://git@c/d", "https://a/b ssh://c/d"),
        ("postgresql+psycopg2://u:p@ss@db/x", "postgresql+psycopg2://db/x"),
        ("mail a@b.c, https://example.com/@scope", "mail a@b.c, https://example.com/@scope"),
        (
            "https://b/a.zip?X-Amz-Date=1&X-Amz-Signature=ab",
            "https://b/a.zip?X-Amz-Date=1&X-Amz-Signature=***",
        ),
    ],
)
def test_logins_in_urls_are_not_shown(text: str, shown: str) -> None:
    assert without_login(text) == shown


@pytest.mark.parametrize(
    "test", [test_redaction.test_credentials_are_replaced, test_redaction.test_other_text_stays]
)
def test_the_worker_shows_no_more_than_the_stages(test: Any) -> None:
    for example in test.pytestmark[0].args[1]:
        text, safe = (example, example) if isinstance(example, str) else example
        assert without_login(text) == safe.replace("***@", "")


@pytest.mark.parametrize(
    "text",
    [
        "fatal: Authentication failed for 'https://git.example.com/project.git/'",
        "git@example.com: Permission denied (publickey).",
        "fatal: could not read Username for 'https://example.com': terminal prompts disabled",
        "fatal: unable to access 'https://example.com/': The requested URL returned error: 403",
        "An error occurred (AccessDenied) when calling the PutObject operation",
    ],
)
def test_a_refused_login_is_seen(text: str) -> None:
    assert login_refused(text)


def test_a_server_out_of_reach_is_no_refused_login() -> None:
    assert not login_refused("fatal: unable to access: Could not resolve host; error: 503; Permission denied")


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.events": "low 0\noom 2\noom_kill 1\n", "memory.max": "8589934592\n"}, " (limit 8 GiB)"),
        ({"memory.events": "oom_kill 1\n", "memory.max": "max\n"}, ""),
        (
            {
                "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
                "memory/memory.limit_in_bytes": "314572800\n",
            },
            " (limit 300 MiB)",
        ),
        (
            {
                "memory/memory.oom_control": "oom_kill 1\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            "",
        ),
    ],
)
def test_the_kernels_word_on_memory(tmp_path: Path, files: dict[str, str], limit: str) -> None:
    assert memory.kills(tmp_path) == 0
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory.kills(tmp_path) == 1
    assert memory.exceeded(tmp_path) == f"out of memory{limit}"


def test_the_link_to_mlflow_takes_a_login_and_a_server_that_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    headers: list[str] = []
    monkeypatch.setattr(record, "_PAUSES", (0.01, 0.01))

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers.append(self.headers["Authorization"])
            if len(headers) < 3:
                self.send_error(503, "restarting")
                return
            runs = {"runs": [{"info": {"experiment_id": "1", "run_id": "2"}}]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(runs).encode())

        def log_message(self, *about: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:p%40ss@{place}")
        monkeypatch.setenv("CONVOY_ACTION", "record")
        for name in ("REPOSITORY", "RUN", "PARAMS"):
            monkeypatch.setenv(f"CONVOY_{name}", "it")
        links = record._mlflow_run(job.read())
        server.shutdown()
    assert links["mlflow_url"] == f"http://{place}/#/experiments/1/runs/2?workflowType=machine_learning"
    assert set(headers) == {"Basic " + base64.b64encode(b"me:p@ss").decode()}


def test_a_page_at_mlflows_address_is_said_and_fails_no_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class LoginPage(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Log in</html>")

        def log_message(self, *about: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), LoginPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        links = record._mlflow_run(job.read({"CONVOY_ACTION": "plan", "CONVOY_REPOSITORY": "it"}))
        server.shutdown()
    assert links == {"mlflow_run_id": None, "mlflow_url": None}
    assert "is not linked: Expecting value" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (
            'time=x level=info stage=x event=judged_challenger decision=promoted reason="\\"more\\" = good"',
            {"event": "judged_challenger", "decision": "promoted", "reason": '"more" = good'},
        ),
        ("time=x level=warning stage=audit event=found_drift", {"event": "found_drift"}),
        ("time=x level=error stage=audit event=found_drift", None),
        ("Stage 'first' is cached", None),
        ("time=x level=info msg=x my_event=started", None),
    ],
)
def test_the_fields_of_an_event(line: str, fields: dict[str, str] | None) -> None:
    assert event_in(line) == fields


def test_a_result_comes_back_from_its_lines_also_when_it_is_written_again() -> None:
    first, second = ({"params": text * 9000} for text in "aä")
    result = lines.Result()
    parts = lines.result_lines(json.dumps(first, ensure_ascii=False))
    assert len(parts) == 3
    assert [result.sees(line) for line in (*parts[:2], "other text")] == [True, True, False]
    assert result.value is None
    for line in lines.result_lines(json.dumps(second, ensure_ascii=False)):
        assert result.sees(line)
    assert result.value == second


def test_a_backslash_of_a_persons_own_stage_is_text() -> None:
    """It ended the worker in the middle of the stage."""
    fields = event_in(r'time=x level=info stage=own event=wrote path="C:\q"')
    assert fields == {"event": "wrote", "path": r"C:\q"}
    assert mistake_in(r'time=x level=error stage=own event="no C:\q"') == r'"no C:\q"'
