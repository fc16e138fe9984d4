"""The built-in policy's tokenizer: byte-level BPE learnt from the corpus, and a chat template."""

import re
from collections.abc import Iterable
from typing import Any

from rollout.prompts import END_FEEDBACK, GET_FEEDBACK, REVIEW

USER = "<|user|>"
ASSISTANT = "<|assistant|>"
END = "<|end|>"
PAD = "<|pad|>"

CONTROL = (PAD, END, USER, ASSISTANT)
"""Control tokens, removed from decoded text."""
MARKUP = ("<think>", "</think>", "\n```html\n", "```html\n", "\n```", GET_FEEDBACK, REVIEW, "<feedback>", END_FEEDBACK)
"""Markup with one token each, kept in the text. The longest match wins, so a fence after a thought is one token too."""
EDIT_MARKUP = ("<<<<<<< SEARCH\n", "=======\n", ">>>>>>> REPLACE\n")
"""Further markup of a policy that writes edits; see `rollout.edits`."""

SPLIT = "|".join(
    (
        r"<!?(?:doctype|DOCTYPE|html|meta)[^<>]*>\n?",
        r"</?[A-Za-z][A-Za-z0-9]*>?\n?",  # a tag
        r' [a-z-]+="',  # an attribute
        r"[;{]?[a-z-]+:",  # a style property
        r"#[0-9a-fA-F]{3,6}",  # a colour
        r"[A-Z][A-Za-z]*(?:-[A-Za-z]+)*",  # a name, without the space before it
        r" ?[a-z]+(?:-[A-Za-z]+)*",
        r"[0-9]+",
        r" ?[^\sA-Za-z0-9<#]+\n?",
        r" (?=[A-Z])|\s+",
    )
)
"""Splits words, numbers and colours identically in briefs and pages, so that copying one copies its tokens."""

TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}" + USER + "{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}" + ASSISTANT + "{{ message['content'] }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)
"""Omits the system message: the policy is trained on the conventions that it states."""


def learn_tokenizer(texts: Iterable[str], vocab: int, context: int, extra_markup: tuple[str, ...] = ()) -> Any:
    """Learns a `PreTrainedTokenizerFast` of at most `vocab` tokens from `texts`; each markup is one of them."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    markups = (*MARKUP, *extra_markup)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(markups),
        min_frequency=4,
        special_tokens=list(CONTROL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    markup = re.compile("|".join(map(re.escape, markups)))
    tokenizer.train_from_iterator((part for text in texts for part in markup.split(text)), trainer)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in markups])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
