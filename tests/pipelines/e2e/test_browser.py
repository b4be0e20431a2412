"""A person at Airflow's pages: log in, fill train's form, watch it turn green, go on to MLflow; again."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.browser import CHROMIUM, SCREENSHOTS, needs_chromium
from tests.pipelines.e2e.client import Airflow, wait_until

pytestmark = [needs_chromium, pytest.mark.slow]

# Two of the recipe's three members, one epoch: a run of a minute.
OVERRIDES = ["~models.minivggnet", "ensemble.members=[lenet,hog_logistic]"]
SECONDS_FOR_A_RUN = 1200


class Person:
    """A person at the browser; the timeouts are those of a loaded machine."""

    def __init__(self, page: Any, airflow: Airflow) -> None:
        self.page, self.airflow = page, airflow
        page.set_default_timeout(120_000)

    def logs_in_to(self, path: str) -> None:
        self.page.goto(f"{self.airflow.url}/{path}")
        self.page.locator("input[name=username]").fill("admin")
        self.page.locator("input[name=password]").fill(self.airflow.password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(f"**/{path}")

    def triggers(self, recipe: str, epochs: int, overrides: list[str]) -> str:
        """Fill the form; returns the run's id."""
        before = {run["dag_run_id"] for run in self.airflow.runs("train")}
        form = self.fills(recipe, epochs, overrides)
        self.keeps("airflow-form")
        form.get_by_role("button", name="Trigger").click()

        def new() -> list[str]:
            return [
                run["dag_run_id"] for run in self.airflow.runs("train") if run["dag_run_id"] not in before
            ]

        run = str(wait_until(new, 120, "the run that was triggered")[0])
        # A page that shows a run took a third of a core until its end.
        self.page.goto("about:blank")
        return run

    def fills(self, recipe: str, epochs: int, overrides: list[str]) -> Any:
        """Open the form and fill it; returns it."""
        self.page.get_by_role("button", name="Trigger").first.click()
        form = self.page.get_by_role("dialog")
        assert form.locator("input[name=element_recipe]").input_value() == recipe, "the default"
        form.locator("textarea[name=element_overrides]").fill("\n".join(overrides))
        form.get_by_role("button", name="Common params").click()
        form.get_by_role("spinbutton").first.fill(str(epochs))
        return form

    def keeps(self, name: str) -> None:
        """A screenshot that people can look at."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.fixture(scope="module")
def person(own: tuple[Path, Airflow]) -> Any:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to work for root, which is who runs in containers; our own pages only.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        yield Person(page, own[1])
        browser.close()


def test_from_the_form_to_mlflow_and_again(person: Person, own: tuple[Path, Airflow]) -> None:
    repository, airflow = own
    person.logs_in_to("dags/train")
    form = person.fills("digits", -3, OVERRIDES)
    form.get_by_role("button", name="Trigger").click()
    person.page.get_by_text("-3 is less than the minimum of 1").first.wait_for()
    assert airflow.runs("train") == []
    person.page.reload()
    run = person.triggers("digits", 1, OVERRIDES)
    assert airflow.ended("train", run, SECONDS_FOR_A_RUN) == "success"
    tasks = {task.address: task for task in airflow.tasks("train", run)}
    assert tasks.pop("approve").state == "skipped", "the form asks for no approval"
    assert {task.state for task in tasks.values()} == {"success"}
    trainings = [tasks["train@lenet"], tasks["train@hog_logistic"]]
    started = [task.started for task in trainings if task.started]
    ended = [task.ended for task in trainings if task.ended]
    assert len(started) == len(ended) == 2
    assert max(started) < min(ended), "one after the other"

    page = person.page
    page.goto(f"{airflow.url}/dags/train/runs/{run}")
    page.get_by_text("Success").first.wait_for()
    person.keeps("airflow-run")
    page.goto(f"{airflow.url}/dags/train/runs/{run}/tasks/record")
    page.get_by_role("link", name="Details").click()
    person.keeps("airflow-record")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="MLflow").click()
    mlflow = opened.value
    recorded = airflow.result("train", run, "record")
    mlflow.get_by_text(recorded["experiment"]).first.wait_for(timeout=120_000)
    mlflow.screenshot(path=SCREENSHOTS / "airflow-mlflow.png")
    assert recorded["mlflow_run_id"] in mlflow.url
    assert mlflow.get_by_role("link", name="Runs", exact=True).first.is_visible(), (
        "as runs, not as evaluations"
    )
    mlflow.close()
    messages = subprocess.run(
        ["git", "log", "--all", "--format=%B"], cwd=repository, check=True, capture_output=True, text=True
    ).stdout
    assert f"{airflow.url}/dags/train/runs/{run}" in messages, "the experiment names its run in Airflow"
    assert recorded["mlflow_url"] in messages, "and the run in MLflow"

    page.goto(f"{airflow.url}/dags/train")
    again = person.triggers("digits", 1, OVERRIDES)
    assert airflow.ended("train", again, SECONDS_FOR_A_RUN) == "success"
    states = airflow.states("train", again)
    assert states.pop("plan") == "success"
    assert set(states.values()) == {"skipped"}
    note = airflow.run("train", again)["note"]
    assert "nothing to do" in note
    assert recorded["experiment"] in note
    page.goto(f"{airflow.url}/dags/train/runs/{again}/tasks/plan")
    page.get_by_role("link", name="Details").click()
    link = page.get_by_role("link", name="MLflow").get_attribute("href")
    assert recorded["mlflow_run_id"] in link, "where the same run was recorded"
