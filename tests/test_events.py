"""Events in the log have one form: a verb in the past tense and its object, such as resized_images."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.paths import ROOT

ROOMS = ("stages", "apps", "pipelines")
# An error is a sentence. `exception`, `debug` and the like are used nowhere.
LEVELS = {
    "stages": ("event", "warning"),
    "apps": ("event", "warning"),
    "pipelines": ("info", "warning", "error"),
}
IRREGULAR = "chose|drew|found|left|set|wrote"
EVENT = re.compile(rf"(?:[a-z]+ed|{IRREGULAR})(?:_[a-z0-9]+)+")
# A line that another program wrote.
PASSED_ON = "%s"


def events(tree: ast.AST, levels: tuple[str, ...]) -> Iterator[tuple[int, str | None]]:
    """The line and text of each event that the code logs; None where the text is computed."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=level), args=[text, *_]) if level in levels:
                logger = node.func.value  # type: ignore[attr-defined]
                if not (isinstance(logger, ast.Name | ast.Attribute) and ast.unparse(logger).endswith("log")):
                    continue
                texts = [text.body, text.orelse] if isinstance(text, ast.IfExp) else [text]
                for item in texts:
                    yield (
                        node.lineno,
                        getattr(item, "value", None) if isinstance(item, ast.Constant) else None,
                    )


@pytest.mark.parametrize("room", ROOMS)
def test_events_are_a_past_tense_verb_and_its_object(room: str) -> None:
    logged = [
        (f"{path.relative_to(ROOT)}:{line}", text)
        for path in sorted((ROOT / room).rglob("*.py"))
        for line, text in events(ast.parse(path.read_text(encoding="utf-8")), LEVELS[room])
        if text != PASSED_ON
    ]
    assert logged
    wrong = [f"{place}: {text}" for place, text in logged if not EVENT.fullmatch((text or "-").split()[0])]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("text", ["trained", "epoch", "found drift", "would be promoted", "resizing_images"])
def test_other_forms_are_refused(text: str) -> None:
    assert not EVENT.fullmatch(text)
