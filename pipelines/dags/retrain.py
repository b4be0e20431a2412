"""retrain: the pipeline on a schedule, and whenever new data are reported."""

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable

from pipelines import config, form, graph
from pipelines.dag import DEFAULTS, add_tasks
from pipelines.watcher import FolderTrigger

SETTINGS = config.load()
# Reported by an asset event: in the UI, with POST /api/v2/assets/events by the process that adds data, or by
# the watch on a folder.
NEW_DATA = Asset(
    "new-data",
    watchers=[
        AssetWatcher(
            name="folder",
            trigger=FolderTrigger(
                SETTINGS.watch, f"{SETTINGS.state}/watched.json", float(SETTINGS.watch_seconds)
            ),
        )
    ]
    if SETTINGS.watch
    else [],
)
CRON = SETTINGS.retrain_cron

with DAG(
    "retrain",
    description="Train again on new data; skipped where nothing changed",
    doc_md="Runs by CONVOY_RETRAIN_CRON and on events of the asset `new-data`; CONVOY_WATCH creates events.",
    params=form.fields(SETTINGS),
    default_args=DEFAULTS,
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable(CRON, timezone="UTC"), assets=[NEW_DATA])
    if CRON
    else [NEW_DATA],
    catchup=False,
    max_active_runs=1,
    tags=["convoy"],
):
    add_tasks(graph.load(config.DVC_YAML))
