"""Tests of the built-in policy: flaws, corpus, tokenizer, and reproducible pre-training."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from actors.browser.renderer import ChromiumRenderer
from actors.settings import BrowserSettings
from learner.builtin.corpus import BROKEN_SHARE, conversations
from learner.builtin.flaws import FLAWS
from learner.builtin.pretrain import encode, pretrain, training_steps
from learner.builtin.settings import WarmStartSettings
from learner.builtin.shipped import LOG, RECIPE, WEIGHTS, ship, shipped_policy, weights_hash
from learner.builtin.tokenizer import ASSISTANT, EDIT_MARKUP, EDITS, END, learn_tokenizer
from learner.builtin.warmstart import recipe_hash, warm_start
from reward.designs import FAMILIES, draw
from rollout.errors import RelookError
from rollout.parsing import parse_edits, parse_page
from rollout.prompts import GET_FEEDBACK, SYSTEM, answer, first, revise
from rollout.records import Page

TINY = WarmStartSettings(steps=3, hidden=64, layers=1, vocab=512, threads=1, precision="fp32")


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """Restore torch's global settings, which pre-training changes because it normally owns its process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    talks = list(islice(conversations(0, 0.0), 60))
    return learn_tokenizer([text for talk in talks for text in (talk.messages[1].content, talk.target)], 700, 2048)


@pytest.mark.parametrize("flaw", [flaw for flaw, _, _ in FLAWS], ids=lambda flaw: flaw.__name__)
def test_flaw_breaks_the_page_in_its_own_way(flaw: Any) -> None:
    html = draw(3, family="counter").task.reference_html or ""
    broken = flaw(html, "a thought", random.Random(0))
    page = parse_page(broken.text)
    assert broken.text.endswith(GET_FEEDBACK)
    assert (page.html is None) == (broken.outcome == "no_page")
    assert page.html != html
    if broken.outcome == "no_page":
        assert page.problem == broken.flaw


@pytest.mark.browser
async def test_browser_confirms_the_outcome_of_every_flaw() -> None:
    renderer = ChromiumRenderer(BrowserSettings())
    rng = random.Random(1)
    try:
        for flaw, family in [(flaw, family) for flaw, _, _ in FLAWS for family in rng.sample(FAMILIES, 2)]:
            broken = flaw(draw(1, family=family).task.reference_html or "", "", rng)
            page = parse_page(broken.text)
            if page.html is not None:
                render = await renderer.render(page)
                assert render.outcome == broken.outcome, f"{broken.flaw} of {family}"
                assert broken.detail in render.detail
    finally:
        await renderer.stop()


def test_share_of_broken_first_pages_follows_the_setting() -> None:
    def broken(share: float) -> float:
        talks = [talk for talk in islice(conversations(7, share), 400) if talk.kind == "first"]
        return sum(_has_flaw(talk.target) for talk in talks) / len(talks)

    assert broken(0.0) == 0
    assert broken(0.5) == pytest.approx(0.5, abs=0.1)


def _has_flaw(text: str) -> bool:
    html = parse_page(text).html or ""
    counts = Counter({tag: html.count(f"<{tag}>") - html.count(f"</{tag}>") for tag in ("style", "title")})
    hidden = "<body style" in html or "initPage" in html or "#app" in html
    return not html or any(counts.values()) or hidden


def test_conversations_are_reproducible_from_the_seed() -> None:
    assert list(islice(conversations(3, 0.5), 20)) == list(islice(conversations(3, 0.5), 20))
    assert list(islice(conversations(3, 0.5), 5)) != list(islice(conversations(4, 0.5), 5))


def test_revisions_are_written_as_edits_where_the_prompt_asks_for_them() -> None:
    written = {True: 0, False: 0}
    sound = 0
    for talk in islice(conversations(3, 0.9), 600):
        if talk.kind != "revise":
            continue
        asked = EDIT_MARKUP[0] in talk.messages[0].content
        written[asked] += 1
        shown = parse_page(talk.messages[2].content).html or ""
        page = parse_edits(talk.target, shown) if asked else parse_page(talk.target)
        assert not asked or shown
        sound += page.html is not None
    assert min(written.values()) > 60
    assert sum(written.values()) * 0.8 < sound < sum(written.values())


def test_invented_texts_are_in_brief_and_page_and_the_rest_is_as_drawn() -> None:
    plain, invented = draw(5, family="profile"), draw(5, family="profile", invented=1.0)
    texts = ("first", "last", "role", "button")
    for slot, value in invented.traits.items():
        assert (value != plain.traits[slot]) == (slot in texts)
        assert slot not in texts or (value in invented.task.brief and value in (invented.task.reference_html or ""))


def test_markers_of_edits_are_tokens(tokenizer: Any) -> None:
    for marker in EDIT_MARKUP:
        assert len(tokenizer(marker)["input_ids"]) == 1


def test_template_says_in_one_token_that_edits_are_asked_for(tokenizer: Any) -> None:
    def prompt(*, as_edits: bool) -> str:
        design = draw(0).task
        told = revise(design, Page(html=design.reference_html or ""), ("Wrong.",), as_edits=as_edits)
        messages = [{"role": message.role, "content": message.content} for message in told]
        return str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    assert prompt(as_edits=True) == prompt(as_edits=False).removesuffix(ASSISTANT) + EDITS + ASSISTANT
    assert len(tokenizer(EDITS)["input_ids"]) == 1


def test_template_omits_the_system_message(tokenizer: Any) -> None:
    messages = [{"role": message.role, "content": message.content} for message in first(draw(0).task)]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert SYSTEM.content not in text
    assert text.endswith(ASSISTANT)


def test_answers_round_trip_through_the_tokenizer_and_end(tokenizer: Any) -> None:
    for talk in islice(conversations(5, 0.5), 30):
        row = encode(tokenizer, talk)
        assert tokenizer.decode(row.ids[row.prompt : -1], skip_special_tokens=True) == talk.target
        assert tokenizer.convert_ids_to_tokens(row.ids[-1]) == END


def test_word_has_the_same_tokens_in_a_brief_and_in_a_page(tokenizer: Any) -> None:
    def ids(text: str) -> list[int]:
        return [int(i) for i in tokenizer(text)["input_ids"]]

    word = ids("Zyqx Wumbo")
    for text in ('titled "Zyqx Wumbo".', "<h1>Zyqx Wumbo</h1>", answer("<b>Zyqx Wumbo</b>", "Zyqx Wumbo")):
        inside = ids(text)
        assert any(inside[i : i + len(word)] == word for i in range(len(inside))), text


def test_only_targets_have_labels_and_no_target_is_cut(tokenizer: Any) -> None:
    settings = TINY.model_copy(update={"vocab": 700})
    rows = [encode(tokenizer, talk) for talk in islice(conversations(0, BROKEN_SHARE), 300)]
    known = {tuple(row.ids[row.prompt :]) for row in rows}
    for ids_BT, labels_BT in next(training_steps(settings, tokenizer)):
        assert ids_BT.shape == labels_BT.shape
        for labels_T in labels_BT:
            assert tuple(labels_T[labels_T >= 0].tolist()) in known


def test_same_recipe_gives_identical_weights(tmp_path: Path) -> None:
    losses: dict[str, list[float]] = {"one": [], "two": []}
    for name, heard in losses.items():
        (tmp_path / name).mkdir()
        pretrain(TINY, "fp32", tmp_path / name, lambda step, steps, loss, heard=heard: heard.append(loss))
    assert losses["one"] == losses["two"]
    for file in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_interrupted_pretraining_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(step: int, steps: int, loss: float) -> None:
        if step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("learner.builtin.pretrain.SAVE_EVERY", 2)
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    pretrain(TINY, "fp32", tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        pretrain(TINY, "fp32", tmp_path / "cut", interrupt)
    heard: list[int] = []
    pretrain(TINY, "fp32", tmp_path / "cut", lambda step, steps, loss: heard.append(step))
    assert heard == [3]
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )
    for file in ("model.safetensors", LOG):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_shipped_weights_are_those_of_their_recipe() -> None:
    recipe = json.loads((WEIGHTS / RECIPE).read_text())
    assert recipe["sha256"] == weights_hash()
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 12_000_000
    assert (WEIGHTS / "model.safetensors").stat().st_size <= 10_000_000
    defaults = WarmStartSettings()
    assert shipped_policy(defaults) == WEIGHTS
    assert shipped_policy(defaults.model_copy(update={"threads": 7, "precision": "bf16"})) == WEIGHTS
    assert shipped_policy(defaults.model_copy(update={"seed": 1})) is None


def test_a_tiny_policy_can_be_shipped(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (tmp_path / "trained").mkdir()
    pretrain(TINY, "fp32", tmp_path / "trained")
    ship(tmp_path / "trained", TINY, "fp32", tmp_path / "shipped")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "shipped")
    assert model.dtype == torch.bfloat16
    assert json.loads((tmp_path / "shipped" / RECIPE).read_text())["sha256"] == weights_hash(tmp_path / "shipped")
    assert len(AutoTokenizer.from_pretrained(tmp_path / "shipped")) == TINY.vocab
    with pytest.raises(RelookError, match="was trained for 3 steps, wanted 4"):
        ship(tmp_path / "trained", TINY.model_copy(update={"steps": 4}), "fp32", tmp_path / "shipped")
    with pytest.raises(RelookError, match=r"lacks model\.safetensors"):
        ship(tmp_path, TINY, "fp32", tmp_path / "shipped")


def test_warm_started_model_loads_in_transformers_with_an_untied_head(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = warm_start(TINY, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.lm_head.weight.data_ptr() != model.model.embed_tokens.weight.data_ptr()
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    messages = [{"role": "user", "content": "Hi"}]
    assert tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False).endswith(ASSISTANT)


def test_interrupted_warm_start_leaves_no_model_and_a_finished_one_is_kept(tmp_path: Path) -> None:
    heard: list[int] = []

    def interrupt(step: int, steps: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        warm_start(TINY, tmp_path, interrupt)
    assert not (tmp_path / f"policy-{recipe_hash(TINY)}").exists()
    done = warm_start(TINY, tmp_path, lambda step, steps, loss: heard.append(step))
    assert heard == [1, 2, 3]
    assert warm_start(TINY, tmp_path, interrupt) == done


def test_every_setting_changes_the_recipe_hash() -> None:
    names = {recipe_hash(TINY.model_copy(update=change)) for change in ({}, {"steps": 4}, {"layers": 2})}
    assert len(names) == 3
