"""Tests of the training examples: the prompts of episodes, answers that parse back, batches, and tokenization."""

from pathlib import Path
from typing import Any

import pytest
from tiny_model import tiny_model

from learner.settings import LearnerSettings
from learner.supervised.damage import damaged_pages
from learner.supervised.encoding import NO_THOUGHT, encode_file, encoded
from learner.supervised.examples import (
    batches,
    first_example,
    mean_losses,
    readable_reference,
    review_example,
    revision_example,
)
from learner.supervised.settings import SupervisedSettings
from reward.designs import draw
from rollout import prompts
from rollout.parsing import parse_answer, parse_feedback, parse_page
from rollout.records import Message, Page, Task

TASK = draw(3, family="counter").task
REFERENCE = readable_reference(TASK) or ""
FEEDBACK = ("The title is missing.", "The button is red.")


@pytest.mark.parametrize("revision", ["page", "edits"])
def test_a_revision_reads_back_as_the_reference_under_the_prompt_of_episodes(revision: Any) -> None:
    for damaged in damaged_pages(TASK.reference_html or "", 10, seed=0):
        shown = parse_page(damaged.answer)
        example = revision_example(TASK, REFERENCE, shown, FEEDBACK, revision, damaged.damage)
        assert example is not None
        base = shown.html if revision == "edits" else None
        page = parse_answer(example.target, base)
        assert page.html == REFERENCE
        assert page.format_ok
        assert example.messages == prompts.revise(TASK, shown, FEEDBACK, as_edits=base is not None)


def test_a_page_that_was_not_read_is_revised_as_a_whole_page() -> None:
    example = revision_example(TASK, REFERENCE, Page(html=None, problem="no_fence"), FEEDBACK, "edits", "x")
    assert example is not None
    assert parse_page(example.target).html == REFERENCE
    assert example.messages == prompts.revise(TASK, None, FEEDBACK)


def test_first_page_and_review_are_those_of_episodes() -> None:
    first = first_example(TASK, REFERENCE)
    assert (first.messages, parse_page(first.target).format_ok) == (prompts.first(TASK), True)
    review = review_example(TASK, Page(html="<p>"), FEEDBACK, "open_tag")
    assert review.messages == prompts.review(TASK, Page(html="<p>"))
    assert parse_feedback(review.target) == FEEDBACK
    assert review.target.endswith(prompts.END_FEEDBACK)


def test_a_reference_that_an_answer_cannot_contain_gives_no_example() -> None:
    assert readable_reference(Task(id="a", brief="A page.")) is None
    assert readable_reference(Task(id="a", brief="A page.", reference_html=" ")) is None


def test_batches_cover_each_epoch_once_and_do_not_depend_on_the_past() -> None:
    found = batches(10, 4, 6, seed=1)
    assert [len(batch) for batch in found] == [4, 4, 2, 4, 4, 2]
    for epoch in (found[:3], found[3:]):
        assert sorted(index for batch in epoch for index in batch) == list(range(10))
    assert found[0] != found[3]
    assert batches(10, 4, 4, seed=1) == found[:4] != batches(10, 4, 4, seed=2)


def test_losses_are_weighted_by_tokens_in_each_form() -> None:
    losses = mean_losses(["first", "review", "first"], [3.0, 1.0, 1.0], [3, 2, 1])
    assert losses == {"first": 1.0, "review": 0.5}


def test_learner_settings_train_on_the_answers_alone() -> None:
    own = LearnerSettings(lora_rank=4, kl_weight=0.1, epochs=4, token_budget=512)
    settings = SupervisedSettings(lr=1e-3, warmup=0.1, batch=4, epochs=2)
    steps = settings.num_steps(41)
    assert steps == 22
    found = settings.of_learner(own, steps)
    assert (found.distill_weight, found.kl_weight, found.epochs, found.lora_rank, found.token_budget) == (
        1,
        0,
        1,
        4,
        512,
    )
    assert found.lr_at(2) == 1e-3 > found.lr_at(steps) > 0
    assert SupervisedSettings(steps=1).of_learner(own, 1).lr_at(1) > 0


def test_prompts_are_the_ids_of_rollout_engines_and_answers_end_the_turn(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from learner.chat import Chat
    from learner.model import read_tokenizer

    tiny_model(tmp_path)
    chat = Chat(read_tokenizer(tmp_path))
    messages = [{"role": "user", "content": "A card <|end|>"}]
    row = {"messages": messages, "target": "```html"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "examples.parquet")
    encode_file(tmp_path, tmp_path / "examples.parquet", tmp_path / "encoded.parquet", {})
    (found,) = pq.read_table(tmp_path / "encoded.parquet").to_pylist()
    assert found["prompt_ids"] == chat.prompt_ids([Message(role="user", content="A card <|end|>")])
    assert chat.tokenizer.decode(found["token_ids"]) == "```html<|end|>"


def test_a_thought_that_the_template_opens_is_closed_first(tmp_path: Path) -> None:
    from learner.chat import Chat
    from learner.model import read_tokenizer

    tiny_model(tmp_path)
    tokenizer = read_tokenizer(tmp_path)
    tokenizer.chat_template += "<think>\n"
    (found,) = encoded(Chat(tokenizer), [{"messages": [{"role": "user", "content": "A"}], "target": "page"}])
    assert tokenizer.decode(found["token_ids"]) == f"{NO_THOUGHT}page<|end|>"
