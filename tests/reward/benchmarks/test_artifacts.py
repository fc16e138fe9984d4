"""Tests of ArtifactsBench: pages in answers, the text for the judge, judgments; default and faithful."""

import json

import pytest

from reward.benchmarks.artifacts import LONGEST, cut, is_web, messages, page_of, read
from rollout.errors import AnswerFault

OLD = "<!DOCTYPE html><html><head></head><body>old</body></html>"
NEW = "<!DOCTYPE html><html><head></head><body>new</body></html>"


def fence(name: str, content: str) -> str:
    return f"```{name}\n{content}\n```\n"


def test_the_last_whole_document_is_the_page_by_default_and_the_first_block_faithfully() -> None:
    answer = f"<think>{fence('html', 'draft')}</think>{fence('html', OLD)}Better:\n{fence('html', NEW)}"
    assert "new" in (page_of(answer, faithful=False) or "")
    assert "old" in (page_of(answer, faithful=True) or "")


def test_all_styles_and_scripts_become_part_of_the_page() -> None:
    answer = fence("html", NEW) + fence("css", "p { color: red }") + fence("js", "start()")
    page = page_of(answer, faithful=False) or ""
    assert page.index("color: red") < page.index("</head>") < page.index("start()") < page.index("</body>")
    assert "red" not in (page_of(answer, faithful=True) or "")
    linked = NEW.replace("</head>", "<link rel='stylesheet' href='style.css'></head>")
    assert "color: red" in (page_of(fence("html", linked) + fence("css", "p { color: red }"), faithful=True) or "")
    remote = NEW.replace("</head>", "<script src='https://cdn.test/x.js'></script></head>")
    assert "https://cdn.test/x.js" in (page_of(fence("html", remote) + fence("js", "start()"), faithful=True) or "")


def test_a_drawing_alone_gets_a_page_by_default_only() -> None:
    answer = fence("svg", "<svg viewBox='0 0 9 9'><circle r='3'/></svg>")
    assert "<body><svg" in (page_of(answer, faithful=False) or "")
    assert page_of(answer, faithful=True) is None
    assert page_of("No code.", faithful=False) is None


def test_an_unfenced_document_is_found() -> None:
    assert "new" in (page_of(f"Here: {NEW} Done.", faithful=False) or "")
    assert "new" in (page_of(f"Here: {NEW} Done.", faithful=True) or "")


def test_long_answers_keep_both_ends_by_default() -> None:
    long = "a" * LONGEST + "END"
    assert cut(long, faithful=False).endswith("END")
    assert "3 characters are left out" in cut(long, faithful=False)
    assert not cut(long, faithful=True).endswith("END")
    assert cut("short", faithful=False) == "short"


def test_the_judge_gets_task_criteria_answer_and_pictures() -> None:
    checklist = [{"id": 0, "title": "Is it red?", "description": "Check.", "maxScore": 10}]
    (asked,) = messages("Draw.", checklist, "the answer", [("the first screen:", "data:image/png;base64,AA")])
    words = asked["content"][0]["text"]
    assert all(part in words for part in ("Draw.", "Is it red?", "the answer"))
    assert asked["content"][-1]["image_url"]["url"].startswith("data:")


def test_judgments_are_read_strictly_by_default() -> None:
    good = json.dumps({"reasons": [], "criteria": [5, 10], "Overall Score": 99})
    assert read(good, [10, 10], faithful=False) == 0.75
    assert read(good, [10, 10], faithful=True) == 1.0
    assert read('```json\n{"Overall Score": "7"}\n```', [10, 10], faithful=True) == 0.35


@pytest.mark.parametrize(
    "text", ["nothing", '{"criteria": [5]}', '{"criteria": [5, 11]}', '{"criteria": [5, true]}', '{"criteria": 15}']
)
def test_unreadable_judgments_are_faults(text: str) -> None:
    with pytest.raises(AnswerFault):
        read(text, [10, 10], faithful=False)
    with pytest.raises(AnswerFault):
        read(text, [10, 10], faithful=True)


def test_questions_for_other_stacks_are_told_from_web_pages() -> None:
    assert is_web("Build a landing page with a reactive chart in JavaScript.")
    assert not is_web("Write a Vue component.")
    assert not is_web("Write an Android app.")
