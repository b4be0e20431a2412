"""`dvc repro` in a clone, and what it did by its own output."""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pipelines.worker import shell
from pipelines.worker.job import FailedError, Job, RefusedError
from pipelines.worker.lines import event_in, mistake_in, without_login

_DVC = [sys.executable, "-m", "dvc"]
# A stage's exit status says whether its error is permanent (stages/common/errors.py): 1 bad params or data, 2
# a wrong command line. Every other status is worth a retry: 75 transient, 70 unexpected, a signal's.
PERMANENT = (1, 2)
_PERMANENT = re.compile(rf"^ERROR: .*exited with ({'|'.join(map(str, PERMANENT))})$")
# What DVC says after a command that ended with 0 and wrote nothing.
_NO_OUTPUT = re.compile(r"^ERROR: failed to reproduce '.*': output '.*' does not exist$")
# With `--pull`, the outputs that dvc.lock names are there before DVC looks at a stage. Where that is so of
# all stages, it names none.
_UNCHANGED = "Data and pipelines are up to date."
_EVENT = re.compile(r"^Stage '(?P<restored>.+)' (?:is cached|didn't change)|^Running stage '(?P<ran>.+)':$")
# DVC runs a stage by `$SHELL -c CMD`. With this one every stage fails at once that would have to run.
_NO_SHELL = {"SHELL": "/bin/false"}


@dataclass
class Repro:
    """What `dvc repro` did: the stages it restored from the cache and those it ran.

    `mistake` is the first error that a stage reported itself, `error` the first that DVC did. `permanent`:
    the stage's exit status says that a retry cannot help. `events`: those of the stage whose names are among
    `messages`; `last_event`: whichever came last. `writes`: whether its stage has to write its outputs;
    `lacks_output`: it ended with 0 and did not. `unchanged`: no stage had anything to do, and none is named.
    """

    messages: list[str] = field(default_factory=list)
    events: list[dict[str, str]] = field(default_factory=list)
    last_event: dict[str, str] = field(default_factory=dict)
    restored: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    mistake: str = ""
    error: str = ""
    permanent: bool = False
    status: int = 0
    shown: bool = True
    writes: bool = True
    lacks_output: bool = False
    unchanged: bool = False

    def see(self, line: str) -> None:
        """Print one line of the output, and note what it says."""
        if not self.writes and _NO_OUTPUT.match(line):
            self.lacks_output = True
            return
        if self.shown:
            print(without_login(line), flush=True)
        self.unchanged = self.unchanged or line == _UNCHANGED
        if event := _EVENT.match(line):
            ran, restored = event["ran"], event["restored"]
            (self.ran if ran else self.restored).append(ran or restored)
        if fields := event_in(line):
            self.last_event = {key: without_login(value) for key, value in fields.items()}
            if fields["event"] in self.messages:
                self.events.append(self.last_event)
        self.mistake = self.mistake or mistake_in(line) or ""
        self.permanent = self.permanent or bool(_PERMANENT.match(line))
        self.error = self.error or line.removeprefix("ERROR: ") * line.startswith("ERROR: ")

    def fail(self, stage: str, note: str = "") -> NoReturn:
        """Raise what an exit status other than 0 means.

        Args:
            stage: The stage that was to be brought up to date.
            note: What the reason ends with.

        Raises:
            RefusedError: The stage reported a permanent error.
            FailedError: It ended otherwise.
        """
        if self.mistake and self.permanent:
            raise RefusedError(f"{self.mistake}{note}")
        why = self.mistake or self.error or f"dvc repro {stage}: exit status {self.status}"
        raise FailedError(f"{why}{note}")


def repro(
    root: Path, job: Job, words: list[str], variables: Mapping[str, str], ran: Iterable[str] = ()
) -> Repro:
    """Run `dvc repro WORDS` after what has run already; a remote's part of it is pulled."""
    done = Repro(messages=job.messages, ran=list(ran), writes=not job.rank)
    return _repro(root, job, words, variables, done)


def restore(root: Path, job: Job) -> Repro:
    """Restore every stage that the cache has, and run none; those that would run are listed as `ran`.

    A stage after one of these is neither restored nor listed. This way DVC itself decides what is cached: its
    own `--dry` cannot, as it does not have the inputs of any stage but the first.
    """
    # Its output is hidden: stages fail here by design.
    done = _repro(root, job, ["--keep-going"], _NO_SHELL, Repro(shown=False))
    if done.unchanged:
        done.restored = ask(root, "stage", "list", "--name-only").split()
    return done


def ask(root: Path, *words: str) -> str:
    """Run `dvc WORDS` and return its output. Raises as `shell.output` does."""
    return shell.output([*_DVC, *words], root, f"dvc {words[0]}")


def status(root: Path) -> dict[str, list[Any]]:
    """What has changed since dvc.lock, per stage."""
    changes: dict[str, list[Any]] = json.loads(ask(root, "status", "--json"))
    return changes


def fetch(root: Path, job: Job) -> None:
    """Fetch the run cache from the remote, if there is one.

    Raises:
        RefusedError: The remote is reached over HTTP. DVC ends with status 0 there and sends no run cache, so
            no task would find what another has done.
    """
    if job.remote:
        _check_has_run_cache(root, job.remote)
        ask(root, "fetch", "--quiet", "--run-cache", "--remote", job.remote)


def push(root: Path, job: Job, *stages: str) -> None:
    """Push stages' outputs and the run cache to the remote, if there is one."""
    if job.remote:
        ask(root, "push", "--quiet", "--run-cache", "--remote", job.remote, *stages)


def _check_has_run_cache(root: Path, remote: str) -> None:
    lines = ask(root, "config", "--list").splitlines()
    (url,) = [line.partition("=")[2] for line in lines if line.startswith(f"remote.{remote}.url=")] or [""]
    if not url:
        raise RefusedError(f"CONVOY_REMOTE is {remote}; the repository's .dvc/config has no such remote")
    if url.startswith(("http://", "https://")):
        raise RefusedError(
            f"CONVOY_REMOTE is {remote}, over HTTP; DVC sends no run cache there: use s3, gs, azure or ssh"
        )


def _repro(root: Path, job: Job, words: list[str], variables: Mapping[str, str], done: Repro) -> Repro:
    pull = ["--pull"] if job.remote else []
    done.status = shell.stream([*_DVC, "repro", *pull, *words], root, variables, done.see)
    return done
