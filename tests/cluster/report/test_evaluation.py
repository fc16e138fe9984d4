"""Tests of the page of an evaluation: its content, its limit, and the escaping of untrusted text."""

from drawn_episodes import PICTURES, played_task

from cluster.report.evaluation import MAX_CARDS, evaluation_page

EVIL = "</script></pre><img src=x onerror=alert(1)><script>alert(2)</script>"
TABLE = {"base": {"reward": 0.4, "valid": 0.8, "tokens": 231.0, "seconds": 3.0}, "with_critic": {"reward": 0.5}}


def test_every_task_is_shown_in_the_three_modes() -> None:
    page = evaluation_page("demo-1, champion", TABLE, [played_task(0), played_task(1)], PICTURES.get)
    for words in ("demo-1, champion", "0.400", "reference", "base decode", "self-edit", "full loop", "0.61"):
        assert words in page
    assert page.count('class="card pair"') == 2
    assert page.count('class="screen bad"') == 2, "the base decode of each task throws"


def test_untrusted_text_is_never_markup() -> None:
    page = evaluation_page(EVIL, TABLE, [played_task(0, EVIL)], PICTURES.get)
    assert "<img src=x" not in page
    assert page.count("<script>") == 1


def test_omitted_tasks_are_counted() -> None:
    page = evaluation_page("demo-1", TABLE, [played_task(0)] * (MAX_CARDS + 3), PICTURES.get)
    assert page.count('class="card pair"') == MAX_CARDS
    assert "3 more are omitted" in page
