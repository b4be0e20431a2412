"""A command whose stages record events: its output goes to a file, its end to the caller."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.tools.running import watching
from stages.tools.running.screen import Screen
from tests.paths import ROOT

DVC = (
    "Stage 'ingest' didn't change, skipping\nStage 'train@a' is cached - skipping run, checking out outputs\n"
)


def script(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(lines)]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_libraries_print_is_in_the_file_alone(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = watching.run(
        script("import sys", f"print({DVC!r})", "sys.stderr.write('oneDNN custom operations are on')"),
        Screen([]),
        verbose=False,
    )
    assert (outcome.status, outcome.unchanged, outcome.restored) == (0, ["ingest"], ["train@a"])
    assert capsys.readouterr().out == ""
    assert "oneDNN" in watching.LOG.read_text(encoding="utf-8")


def test_an_error_of_a_stage_is_shown_once_and_the_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = watching.run(
        script(
            "import json, os, sys",
            "record = {'stage': 'ingest', 'kind': 'error', 'message': 'no images', 'fields': {}}",
            "open(os.environ['CONVOY_EVENTS'], 'a').write(json.dumps(record) + chr(10))",
            "sys.exit('ERROR: failed to reproduce')",
        ),
        Screen([]),
        verbose=False,
    )
    assert outcome.status == 1
    assert capsys.readouterr().out.splitlines() == [
        "ingest: error: no images",
        "All output is in .convoy/run.log; VERBOSE=1 shows it.",
    ]


def test_an_error_of_dvc_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    command = script("import sys", "print('noise')", "sys.exit('ERROR: unexpected error - the disk is gone')")
    assert watching.run(command, Screen([]), verbose=False).status == 1
    assert capsys.readouterr().out.splitlines()[0] == "error: the disk is gone"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "stages:\n  a: [\n  b: 1\n",
            ["While parsing a flow sequence, in line 2, column 6"],
        ),
        (
            "stages:\n  a:\n    cmdd: x\n",
            [
                "extra keys not allowed, in stages -> a -> cmdd, line 3, column 5",
                "required key not provided, in stages -> a -> cmd, line 3, column 5",
            ],
        ),
    ],
)
def test_a_file_that_dvc_cannot_read_is_named_with_its_lines(
    text: str, shown: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "--quiet"], check=True)
    (tmp_path / "dvc.yaml").write_text(text, encoding="utf-8")
    assert watching.run([*dvc, "repro"], Screen([]), verbose=False).status
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(shown)] == [f"error: dvc.yaml: {line}" for line in shown]
    assert all(line.startswith(("error: dvc.yaml: ", "All output is in ")) for line in lines)


# As DVC: it waits for its stage, which alone gets a terminal's Ctrl-C, and ends when the stage has failed.
PARENT = (
    "import signal, subprocess, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "status = subprocess.run([sys.executable, '-c', sys.argv[1]]).returncode\n"
    "open('ended', 'w').close()\nsys.exit(status)"
)
# It needs more than the quarter of a second that subprocess gives after Ctrl-C.
STAGE = (
    "import signal, sys, time\n"
    "def stop(*_):\n    time.sleep(1)\n    open('checkpoint', 'w').close()\n    sys.exit(75)\n"
    "for number in (signal.SIGINT, signal.SIGTERM):\n    signal.signal(number, stop)\n"
    "open('started', 'w').close()\ntime.sleep(60)"
)


@pytest.mark.parametrize(
    ("number", "verbose", "status", "line"),
    [
        (signal.SIGINT, False, 130, "Stopped. The same command resumes: what is finished is not done again."),
        (signal.SIGINT, True, 130, "stopped by the keyboard"),
        (signal.SIGTERM, False, 143, "stopped by SIGTERM; run it again"),
        (signal.SIGTERM, True, 143, "stopped by SIGTERM; run it again"),
    ],
)
def test_a_stopped_run_waits_for_the_checkpoint_of_its_stage(
    number: signal.Signals, status: int, line: str, *, verbose: bool
) -> None:
    program = (
        # A shell's background job, and so each test that it runs, ignores Ctrl-C.
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from stages import cli\nfrom stages.tools.running import watching\n"
        "from stages.tools.running.screen import Screen\n"
        f"command = [sys.executable, '-c', {PARENT!r}, {STAGE!r}]\n"
        "with cli.error_boundary('run'):\n"
        f"    sys.exit(watching.run(command, Screen([]), verbose={verbose}).status)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 180
    while not Path("started").exists():
        assert time.monotonic() < deadline
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
    if number == signal.SIGINT:
        # As a terminal does: to the program and to the stage.
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == status
    assert Path("checkpoint").exists()
    assert Path("ended").exists()
    assert line in output
