"""A random model small enough for any test, and batches for it."""

import random
import socket
from pathlib import Path
from typing import Any

from rollout.records import Hindsight, Lesson, Message, Sample

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"


def tiny_model(folder: Path) -> Any:
    """A random Llama with fewer key heads than heads and a byte-level tokenizer, saved to `folder`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|end|>", "<|user|>", "<|assistant|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(special + letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", chat_template=TEMPLATE)
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=264,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=0,
    )
    model = LlamaForCausalLM(config).float().eval()
    model.save_pretrained(folder)
    return model


def samples(num: int = 6, seed: int = 0) -> tuple[Sample, ...]:
    """Random samples of 10 to 60 tokens whose log-probs are a little off those of a random model."""
    draw = random.Random(seed)
    return tuple(
        Sample(
            prompt_ids=tuple(draw.randrange(3, 259) for _ in range(draw.randint(2, 20))),
            token_ids=(tokens := tuple(draw.randrange(3, 259) for _ in range(draw.randint(8, 40)))),
            logprobs=tuple(draw.gauss(-5.6, 0.4) for _ in tokens),
            advantage=draw.gauss(0, 1),
        )
        for _ in range(num)
    )


def hindsights(num: int = 2) -> tuple[Hindsight, ...]:
    """The first samples as revisions whose first prompt was a shorter one."""
    return tuple(
        Hindsight(prompt_ids=sample.prompt_ids[:1], shown_ids=sample.prompt_ids, token_ids=sample.token_ids)
        for sample in samples(num)
    )


LESSONS = tuple(
    Lesson(messages=(Message(role="user", content=brief),), target=f"<feedback>\n- {said}\n</feedback>")
    for brief, said in (("a card", "The title is too small."), ("a price table", "The page is blank."))
)


def address() -> str:
    """Where ranks of this machine can meet."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{door.getsockname()[1]}"
