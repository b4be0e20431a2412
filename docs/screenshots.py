"""Take the screenshots of README and docs from a real run. Needs chromium.

`make run` and `make airflow`, a run of `train` triggered there, then `python docs/screenshots.py`. A page
whose server does not answer keeps its screenshot.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Error, Page, sync_playwright

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "screenshots"
# 256 colours keep a page with figures below 200 kB.
COLOURS, LIMIT = 256, 200_000
# Milliseconds until a page has drawn what it fetches.
DRAWN = 10_000


def main() -> None:
    """Write docs/screenshots/NAME.png for each page that can be shown."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--airflow", default="http://127.0.0.1:8080", help="as make airflow prints it")
    parser.add_argument("--mlflow", default="http://127.0.0.1:5000", help="as make airflow prints it")
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace of the run")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("error: chromium is missing; apt-get install chromium")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for root, the user in containers; these are our own pages.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        take(browser, "report", lambda page: page.goto((options.root / "reports/index.html").as_uri()))
        take(browser, "mlflow", lambda page: show_mlflow(page, options.mlflow))
        take(browser, "airflow", lambda page: show_airflow(page, options.airflow, options.root))
        browser.close()


def take(browser: Browser, name: str, show: Callable[[Page], object]) -> None:
    """Show a page and write its screenshot."""
    page = browser.new_page(viewport={"width": 1200, "height": 860})
    try:
        show(page)
    except Error as error:
        print(f"{name}: not taken: {str(error).splitlines()[0]}")
        return
    file = FOLDER / f"{name}.png"
    page.screenshot(path=file)
    Image.open(file).convert("RGB").quantize(COLOURS).save(file, optimize=True)
    size = file.stat().st_size
    print(f"{name}: {size:,} bytes")
    if size > LIMIT:
        sys.exit(f"error: {file} is larger than {LIMIT:,} bytes")


def show_mlflow(page: Page, address: str) -> None:
    """Show the newest parent run: its description, metrics and params."""
    newest = {"max_results": 10, "order_by": ["last_update_time DESC"]}
    experiments = ask(page, f"{address}/api/2.0/mlflow/experiments/search", newest)["experiments"]
    # stages/serving/lease.py has experiments of its own.
    experiment = next(item for item in experiments if not item["name"].startswith("promotion lease"))
    identity = experiment["experiment_id"]
    runs = ask(page, f"{address}/api/2.0/mlflow/runs/search", {"experiment_ids": [identity]})
    parents = [
        run
        for run in runs.get("runs", [])
        if "mlflow.parentRunId" not in {tag["key"] for tag in run["data"]["tags"]}
    ]
    if not parents:
        raise Error("the newest experiment has no runs yet")
    page.goto(address)
    page.get_by_text("Model training", exact=True).first.click()
    page.goto(f"{address}/#/experiments/{identity}/runs/{parents[0]['info']['run_id']}")
    page.wait_for_timeout(DRAWN)
    # The assistant's panel takes a third of the window.
    if (close := page.get_by_role("button", name="Close", exact=True)).count():
        close.first.click()
    # Below are the description with its table, the metrics and the params.
    page.get_by_text("Description", exact=True).first.evaluate("heading => heading.scrollIntoView()")
    page.wait_for_timeout(DRAWN)


def ask(page: Page, address: str, question: dict[str, Any]) -> dict[str, Any]:
    """Ask MLflow's API."""
    headers = {"Content-Type": "application/json"}
    answer: dict[str, Any] = page.request.post(address, data=json.dumps(question), headers=headers).json()
    return answer


def show_airflow(page: Page, address: str, root: Path) -> None:
    """Log in and show the grid of `train`."""
    file = root / ".convoy/airflow/secrets.json"
    secrets = json.loads(file.read_text(encoding="utf-8") if file.exists() else "{}")
    page.goto(f"{address}/dags/train")
    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill(secrets.get("password", ""))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dags/train")
    page.wait_for_timeout(DRAWN)


if __name__ == "__main__":
    main()
