"""What `make run` says at its end: a table, what to know, the verdict, the pages."""

import re

from stages.tools.running import ending
from tests.conftest import MakeRun


def test_the_end_has_members_findings_verdict_and_pages(make_run: MakeRun) -> None:
    run = make_run({"cat": 30, "dog": 30}, {"net": 0.9, "logistic": 0.8})
    run.promote("net", champion="logistic")
    rejects = run.root / "data" / "rejects.csv"
    with rejects.open("a", encoding="utf-8") as file:
        file.write("cat/copy.png,cat,duplicate,of cat/1.png\ncat/notes.txt,cat,unreadable,no image\n")
    lines = ending.summarize(run.root)
    assert max(map(len, lines)) <= 80
    assert lines[1] == "            accuracy  95 % interval     log loss"
    rows = [line.split()[0] for line in lines[2:5]]
    assert rows == ["net", "logistic", "ensemble"]
    assert re.fullmatch(r"  on the \d+ images of the test split", lines[5])
    text = "\n".join(lines)
    # The duplicate needs nothing; the text file is a finding.
    assert "  1. 1 file was left out, the first because: unreadable (data/rejects.csv)" in lines
    assert len(re.findall(r"^  \d\. ", text, re.MULTILINE)) <= 3
    assert "  Promotion: " in text
    pages = re.findall(r"^  (reports/\S+)", text, re.MULTILINE)
    assert pages == ["reports/index.html", "reports/data.html", "reports/promotion.html"]
