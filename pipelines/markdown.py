"""Text in Airflow's notes, which are Markdown."""

import re

# Of a note's 1,000 characters.
_MAX_MESSAGE = 800


def code(text: str) -> str:
    """Text as a code span of Markdown: messages have names of classes and files, which are no markup."""
    line = " ".join(text.split())
    line = line if len(line) <= _MAX_MESSAGE else f"{line[:_MAX_MESSAGE]} …"
    # The only way out of a span is as many backticks as begin it.
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"
