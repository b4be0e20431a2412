"""A folder of images, watched: its changes are events of an asset."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from pipelines.worker.files import Files


class FolderTrigger(BaseEventTrigger):
    """Fires when the files of a folder have changed and then stay as they are for one interval.

    The triggerer runs it. What was reported last is in a file, so that a change is noticed although Airflow
    did not run when it was made. Sizes and times are compared, no file is read.
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
        path = Path(self.memory)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"folder": self.folder, "digest": digest}), encoding="utf-8")
        part.replace(path)
