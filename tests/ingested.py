"""What ingest has written into a project, as tests read it."""

import csv
from typing import Any

import pyarrow.parquet as pq

from tests.project import Project


def rows_of(project: Project) -> list[dict[str, Any]]:
    return pq.read_table(project.manifest).to_pylist()


def rejects_of(project: Project) -> list[dict[str, Any]]:
    with project.rejects.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def splits_of(project: Project) -> dict[str, str]:
    return {row["sha256"]: row["split"] for row in rows_of(project)}
