"""Tests of the comparison of probes with published verdicts."""

import json
from pathlib import Path

from cluster.experiments.probe_agreement import answered_pages, public_verdicts, table


def row(verdict: str, ok: bool, detail: str = "", error: str = "") -> dict[str, object]:
    return {
        "task": "lamp",
        "name": "dims",
        "verdict": verdict,
        "detail": detail,
        "ok": ok,
        "error": error,
        "seconds": 0.5,
    }


def test_inconclusive_agrees_with_a_failure_and_disagreements_are_listed() -> None:
    rows = [row("pass", True), row("inconclusive", False), row("fail", True, detail="step 1"), row("pass", False)]
    said = table(rows)
    assert said.startswith("2 of 4 tests agree (50.0%); probes took 2 s")
    assert "1 probe inconclusive Playwright fail" in said
    assert said.count("lamp: dims") == 2
    assert table([]) == "no test was played"


def test_answers_without_a_fence_are_left_out(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        json.dumps({"id": "a", "answer": "```html\n<p>&lt;</p>\n```"}) + "\n" + json.dumps({"id": "b", "answer": "no"})
    )
    assert answered_pages(answers) == {"a": "<p><</p>"}
    verdicts = tmp_path / "verdicts.jsonl"
    verdicts.write_text(json.dumps({"file": "a.spec.js", "describe": ["A"], "title": "t", "ok": True}) + "\n")
    assert public_verdicts(verdicts)["a.spec.js", ("A",), "t"]["ok"]
