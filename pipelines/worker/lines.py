"""Lines of a stage's log, read for the one thing that matters: why it stopped."""

import json
import re

_ERROR = re.compile(r"level=error .*?event=(?P<event>.*)")


def mistake_in(line: str) -> str | None:
    """The message of a line in which a stage reports an error: one that it foresaw, for the user to mend."""
    if not (found := _ERROR.search(line)):
        return None
    event = found["event"]
    return str(json.JSONDecoder().raw_decode(event)[0]) if event.startswith('"') else event.partition(" ")[0]
