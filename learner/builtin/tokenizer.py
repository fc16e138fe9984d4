"""The built-in policy's tokenizer: byte-level BPE learnt from the corpus, and a chat template."""

import re
from collections.abc import Iterable
from typing import Any

from rollout.prompts import END_FEEDBACK, GET_FEEDBACK, REVIEW

USER = "<|user|>"
ASSISTANT = "<|assistant|>"
END = "<|end|>"
PAD = "<|pad|>"
EDITS = "<|edits|>"

CONTROL = (PAD, END, USER, ASSISTANT, EDITS)
"""Control tokens, removed from decoded text."""
EDIT_MARKUP = ("<<<<<<< SEARCH\n", "=======\n", ">>>>>>> REPLACE\n")
"""Markers of edits; see `rollout.edits`."""
MARKUP = (
    *("<think>", "</think>", "\n```html\n", "```html\n", "\n```", GET_FEEDBACK, REVIEW, "<feedback>", END_FEEDBACK),
    *EDIT_MARKUP,
)
"""Markup with one token each, kept in the text. The longest match wins, so a fence after a thought is one token too."""

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
    "{% set edits = messages[0]['role'] == 'system' and '" + EDIT_MARKUP[0].strip() + "' in messages[0]['content'] %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}" + USER + "{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}" + ASSISTANT + "{{ message['content'] }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{% if edits %}" + EDITS + "{% endif %}" + ASSISTANT + "{% endif %}"
)
"""Omits the system message: the policy is trained on the conventions that it states. One that asks for edits becomes
one token before the answer."""


def learn_tokenizer(texts: Iterable[str], vocab: int, context: int) -> Any:
    """Learns a `PreTrainedTokenizerFast` of at most `vocab` tokens from `texts`; each markup is one of them."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(MARKUP),
        min_frequency=4,
        special_tokens=list(CONTROL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    markup = re.compile("|".join(map(re.escape, MARKUP)))
    tokenizer.train_from_iterator((part for text in texts for part in markup.split(text)), trainer)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in MARKUP])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT, EDITS],
        chat_template=TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
