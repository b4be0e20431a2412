"""A trigger that reports changes of a folder of images as events of an asset."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from pipelines.worker.files import Files, write


class FolderTrigger(BaseEventTrigger):
    """Fires when the files of a folder have changed and then stay as they are for one interval.

    The triggerer runs it. What was reported last is in a file, so that a change is noticed although Airflow
    did not run when it was made. It compares sizes and times, and reads no file.
    """

    def __init__(self, folder: str, memory: str, seconds: float) -> None:
        """Create the trigger.

        Args:
            folder: The folder of images.
            memory: The file that keeps what was seen last.
            seconds: Between two looks.
        """
        super().__init__()
        self.folder, self.memory, self.seconds = folder, memory, seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer makes it from."""
        values = {"folder": self.folder, "memory": self.memory, "seconds": self.seconds}
        return f"{FolderTrigger.__module__}.{FolderTrigger.__qualname__}", values

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each change, with the number of files."""
        before = await asyncio.to_thread(Files, Path(self.folder))
        if (reported := self._reported()) is None:
            reported = before.digest
            self._report(reported)
        while True:
            await asyncio.sleep(self.seconds)
            now = await asyncio.to_thread(Files, Path(self.folder))
            # A copy that is under way changes the folder until its end.
            if now.digest == before.digest != reported:
                reported = now.digest
                yield TriggerEvent({"folder": self.folder, "files": now.count})
                self._report(reported)
            before = now

    def _reported(self) -> str | None:
        try:
            values = json.loads(Path(self.memory).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return str(values["digest"]) if values.get("folder") == self.folder else None

    def _report(self, digest: str) -> None:
        write(Path(self.memory), json.dumps({"folder": self.folder, "digest": digest}))
