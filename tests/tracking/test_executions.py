"""One parent run for each execution of the pipeline, however many stages start at once."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from stages import tracking
from stages.common.errors import Terminated
from stages.tracking import executions
from stages.tracking.executions import EXECUTION, PARENT, Execution
from tests.paths import ROOT


def parent_of(link: dict[str, str | None]) -> str:
    return str(MlflowClient().get_run(str(link["run_id"])).data.tags[PARENT])


def test_runs_of_one_execution_have_one_parent_with_their_status(
    tracked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVOY_RUN", "manual__2026-11-21")
    client = MlflowClient()
    with tracking.run("tiny", "one", {"stage": "train@one"}) as first:
        assert client.get_run(parent_of(first.link)).info.status == "RUNNING"
    with tracking.run("tiny", "two", {"stage": "train@two"}) as second:
        second.members({"one": first.link}, {"ensemble.accuracy": 0.5})
    parent = client.get_run(parent_of(first.link))
    assert parent_of(second.link) == parent.info.run_id
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == parent.data.tags[EXECUTION] == "manual__2026-11-21"
    assert parent.data.metrics == {"ensemble.accuracy": 0.5}

    # Another execution that takes `one` from the cache points at it.
    monkeypatch.setenv("CONVOY_RUN", "manual__2026-11-22")
    with tracking.run("tiny", "three", {"stage": "evaluate"}) as third:
        third.members({"one": first.link}, {})
    second_parent = client.get_run(parent_of(third.link))
    assert second_parent.info.run_id != parent.info.run_id
    assert second_parent.data.tags["run.one"] == first.link["run_id"]
    assert str(first.link["run_id"]) in second_parent.data.tags["mlflow.note.content"]


def test_a_failed_stage_fails_the_parent_until_it_is_run_again(
    tracked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVOY_RUN", "retried")
    client = MlflowClient()
    with pytest.raises(ZeroDivisionError), tracking.run("tiny", "one", {"stage": "x"}) as failed:  # noqa: PT012
        link = failed.link
        _ = 1 / 0
    assert client.get_run(parent_of(link)).info.status == "FAILED"
    with tracking.run("tiny", "one", {"stage": "x"}):
        pass
    assert client.get_run(parent_of(link)).info.status == "FINISHED"


def test_parents_made_at_the_same_time_become_one_with_all_children_below(tracked: Path) -> None:
    experiment = MlflowClient().create_experiment("race")
    execution, count = Execution("at once", "at once", ""), 6
    start = threading.Barrier(count)
    parents: list[str] = []

    def begin(number: int) -> None:
        client = MlflowClient()
        start.wait()
        parent = executions.parent_run(client, experiment, execution, {})
        child = client.create_run(experiment, run_name=str(number), tags={PARENT: parent}).info.run_id
        # What a run does at its end.
        executions.adopt(client, experiment, execution, child)
        parents.append(child)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(parents) == count
    client = MlflowClient()
    (parent,) = client.search_runs([experiment], f"tags.`{EXECUTION}` = 'at once'", ViewType.ACTIVE_ONLY)
    assert {client.get_run(child).data.tags[PARENT] for child in parents} == {parent.info.run_id}


def test_a_parent_that_came_later_gives_its_children_to_the_oldest(tracked: Path) -> None:
    client = MlflowClient()
    experiment = client.create_experiment("late")
    late = client.create_run(experiment, start_time=20, tags={EXECUTION: "it"}).info.run_id
    child = client.create_run(experiment, tags={PARENT: late}).info.run_id
    oldest = client.create_run(experiment, start_time=10, tags={EXECUTION: "it"}).info.run_id
    assert executions.parent_run(client, experiment, Execution("it", "it", ""), {}) == oldest
    assert client.get_run(child).data.tags[PARENT] == oldest
    assert client.get_run(late).info.lifecycle_stage == "deleted"


def test_an_older_parent_made_while_a_run_is_put_below_its_own_gets_the_run(tracked: Path) -> None:
    experiment = MlflowClient().create_experiment("overtaken")
    execution = Execution("slow", "slow", "")

    class Overtaken(MlflowClient):
        oldest = ""

        def set_tag(self, *about: Any, **more: Any) -> None:
            if not self.oldest:
                # As if its request had been sent before ours and written only now.
                created = MlflowClient().create_run(
                    experiment, start_time=10, tags={EXECUTION: execution.identity}
                )
                self.oldest = created.info.run_id
                assert executions.parent_run(MlflowClient(), experiment, execution, {}) == self.oldest
            super().set_tag(*about, **more)

    client = Overtaken()
    child = client.create_run(experiment).info.run_id
    assert executions.adopt(client, experiment, execution, child) == client.oldest
    assert client.get_run(child).data.tags[PARENT] == client.oldest


ASK = "from stages.tracking import executions; print(executions.current().identity)"


def test_stages_of_one_dvc_are_of_one_execution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVOY_RUN", raising=False)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    dvc = tmp_path / "dvc"
    stage = f"subprocess.run([sys.executable, '-c', {ASK!r}], check=True)"
    dvc.write_text(f"import subprocess, sys\n{stage}\n{stage}\n")

    def printed(*words: str) -> list[str]:
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    (first, same), (two, _) = printed(str(dvc), "repro"), printed(str(dvc), "repro")
    assert first == same
    assert first != two
    (by_hand,) = printed("-c", ASK)
    assert by_hand not in (first, two)


def test_an_experiment_may_have_a_quote_in_its_name(tracked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git takes the name, and MLflow's queries have no escape for it."""
    monkeypatch.delenv("CONVOY_RUN", raising=False)
    monkeypatch.setenv("DVC_EXP_NAME", "bob's")
    with tracking.run("quoted", "one", {"stage": "train@one"}) as run:
        pass
    assert MlflowClient().get_run(parent_of(run.link)).info.run_name == "bob's"


def test_whether_a_process_on_another_machine_lives_is_unknown() -> None:
    identity = executions.process_identity(os.getpid())
    assert executions.is_alive(identity) is True
    assert executions.is_alive(identity + "0") is False
    assert executions.is_alive("elsewhere" + identity) is None
    assert executions.is_alive("") is None


def test_two_sweeps_side_by_side_do_not_end_each_others_runs(
    tracked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials are trainings of one member below one parent: nothing but their processes tells them apart."""
    monkeypatch.setenv("CONVOY_RUN", "sweep-digits-lenet")
    monkeypatch.delenv("DVC_STAGE", raising=False)
    client = MlflowClient()
    with tracking.run("swept", "lenet", {"stage": "train@lenet"}) as first:
        client.set_tag(str(first.link["run_id"]), executions.PROCESS, "another-machine pid:[1] 7 7")
        with tracking.run("swept", "lenet", {"stage": "train@lenet"}) as second:
            for trial in (first, second):
                assert client.get_run(str(trial.link["run_id"])).info.status == "RUNNING"


def test_an_earlier_attempt_at_a_stage_on_another_machine_is_ended_with_its_parent(
    tracked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVOY_RUN", "train-7")
    monkeypatch.setenv("DVC_STAGE", "train@lenet")
    client = MlflowClient()
    with tracking.run("again", "lenet", {"stage": "train@lenet"}) as attempt:
        run_id = str(attempt.link["run_id"])
        client.set_tag(run_id, executions.PROCESS, "another-machine pid:[1] 7 7")
        with tracking.run("again", "lenet", {"stage": "train@lenet"}):
            assert client.get_run(run_id).info.status == "KILLED"


def test_the_parent_of_killed_runs_does_not_stay_running(tracked: Path) -> None:
    """As after a cancelled run of Airflow, which no stage resumes."""
    client = MlflowClient()
    experiment = client.create_experiment("cancelled")
    parent = client.create_run(experiment, tags={EXECUTION: "c1", executions.PROCESS: ""}).info.run_id
    dead = executions.process_identity(os.getpid()) + "0"
    child = client.create_run(experiment, tags={PARENT: parent, executions.PROCESS: dead}).info.run_id
    tracking.end_killed_everywhere()
    assert [client.get_run(run_id).info.status for run_id in (child, parent)] == ["KILLED", "KILLED"]


def test_sigterm_during_the_upload_leaves_nothing_running(
    tracked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage ended, and its run and the parent stayed RUNNING for ever."""
    monkeypatch.setenv("CONVOY_RUN", "stopped")

    def stop(*_: object) -> None:
        raise Terminated

    with monkeypatch.context() as patched, pytest.raises(Terminated):  # noqa: PT012
        patched.setattr("stages.tracking.parts.log_artifacts", stop)
        with tracking.run("tiny", "stopped", {"stage": "train@stopped"}) as opened:
            pass
    client = MlflowClient()
    states = {client.get_run(str(opened.link["run_id"])).info.status}
    states |= {client.get_run(parent_of(opened.link)).info.status}
    assert states == {"KILLED"}
    # The next stage uploads what was missing.
    with tracking.run("tiny", "next", {"stage": "train@next"}):
        pass
    assert client.list_artifacts(str(opened.link["run_id"]))
    assert client.get_run(str(opened.link["run_id"])).info.status == "KILLED"
