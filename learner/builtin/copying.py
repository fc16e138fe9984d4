"""Initial weights with which the built-in policy copies: an induction head set by hand in its first two layers.

A small model finds an induction head (https://transformer-circuits.pub/2022/in-context-learning-and-induction-heads)
only after tens of millions of tokens. Given one, it has to learn only what to copy.

The residual stream holds random codes: the token's own, those of the two tokens before it, and that of the token to be
copied. In layer 0 two heads attend to the positions one and two back, by rotary phase alone, and write the codes of
these tokens. In layer 1 a head attends to positions whose previous token is the current one, first of all to those
where the token before agrees too, and writes their own code. The output layer scores each token by its code.
"""

import math
from typing import Any

import torch
from torch import Tensor

HEAD = 64
"""Width of an attention head, and of a code."""
LONG = 12
"""Numbers of the second previous token's code, which only decides between positions with the same previous token."""
OWN, PREVIOUS, COPY = (slice(start, start + HEAD) for start in (0, HEAD, 2 * HEAD))
BEFORE = slice(3 * HEAD, 3 * HEAD + LONG)
"""Where the residual stream holds each code."""
BIAS = BEFORE.stop
"""The dimension of the residual stream that is the same for every token."""
AMPLITUDE = 0.5
"""Absolute value of a code's numbers."""
BACK_LOGIT = 50.0
"""Attention logit of the position that a head of layer 0 attends to; every other one has at least a fifth less."""
FASTEST = 13
"""Rotary pairs that tell this position from others: half of the logit is the fastest pair's, the others share the rest.
With equal shares the positions beside it would differ too little, with fewer pairs distant ones would."""
MATCH_LOGIT = 22.0
"""Attention logit of a position whose previous token is the current one, in layer 1."""
LONG_MATCH_LOGIT = 6.0
"""What is added if the token before that agrees too."""
COPY_LOGIT = 9.0
"""Output logit of the token to be copied."""
SLOW = 1e-2
"""Rotary frequencies below this many radians a token hardly turn within a page: they compare content."""


def can_copy(config: Any) -> bool:
    """Whether a model of this `LlamaConfig` has room for the codes and the heads."""
    return bool(config.hidden_size > BIAS and config.num_hidden_layers >= 2)


@torch.no_grad()
def set_induction_head(model: Any, seed: int) -> None:
    """Sets the heads of a `LlamaForCausalLM` at its initialization, and the codes that they work on."""
    config = model.config
    codes_VC = _codes(config.vocab_size, seed)
    embedding_VD = model.model.embed_tokens.weight
    embedding_VD[:, : BIAS + 1] = 0.0
    embedding_VD[:, OWN] = codes_VC * AMPLITUDE
    embedding_VD[:, BIAS] = AMPLITUDE
    for layer in model.model.layers[:2]:
        # What other heads and the MLP write at first would be noise in the codes.
        layer.self_attn.o_proj.weight[: BIAS + 1] = 0.0
        layer.mlp.down_proj.weight[: BIAS + 1] = 0.0
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    frequencies_F = model.model.rotary_emb.inv_freq.float()
    half = len(frequencies_F)
    slow = [i for i in range(half) if frequencies_F[i] < SLOW]
    numbers = [number for pair in slow for number in (pair, half + pair)]
    long, short = numbers[:LONG], numbers[LONG:]
    everything = list(range(HEAD))
    bias = _normed(config.hidden_size, HEAD + 1)
    for head, read, write, back in ((0, everything, PREVIOUS, 1), (1, long, BEFORE, 2)):
        _attend_back(first, head, frequencies_F, back, bias)
        _copy(first, head, read, write, AMPLITUDE / bias)
    unit = _normed(config.hidden_size, 2 * HEAD + LONG + 1)
    _attend_to_matches(second, short, long, unit)
    _copy(second, 0, everything, COPY, AMPLITUDE / unit)
    model.lm_head.weight[:, : BIAS + 1] = 0.0
    model.lm_head.weight[:, COPY] = codes_VC * (COPY_LOGIT / HEAD)


def _codes(vocab: int, seed: int) -> Tensor:
    """[V, C] a random code of +1 and -1 for each token."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (vocab, HEAD), generator=generator).float() * 2 - 1


def _normed(hidden: int, num: int) -> float:
    """Absolute value after the RMS norm of `num` equal numbers; the other dimensions start near zero."""
    return math.sqrt(hidden / num)


def _attend_back(attention: Any, head: int, frequencies_F: Tensor, back: int, bias: float) -> None:
    """Query and key are constant; the query is turned by `back` positions, so the logit is largest there."""
    half = len(frequencies_F)
    shares_F = torch.zeros(half)
    shares_F[:FASTEST] = 0.5 / (FASTEST - 1)
    shares_F[0] = 0.5
    # A rotary pair adds strength² · cos(frequency · (distance - back)) / sqrt(HEAD) to the logit.
    strength_F = (BACK_LOGIT * math.sqrt(HEAD) * shares_F).sqrt() / bias
    query, key = _rows(attention.q_proj, head), _rows(attention.k_proj, head)
    query.zero_()
    key.zero_()
    key[:half, BIAS] = strength_F
    query[:half, BIAS] = strength_F * torch.cos(back * frequencies_F)
    query[half:, BIAS] = -strength_F * torch.sin(back * frequencies_F)


def _attend_to_matches(attention: Any, short: list[int], long: list[int], unit: float) -> None:
    """The numbers `short` compare the own code with the previous one, `long` the previous with the one before."""
    query, key = _rows(attention.q_proj, 0), _rows(attention.k_proj, 0)
    query.zero_()
    key.zero_()
    strength = (MATCH_LOGIT * math.sqrt(HEAD) / len(short)) ** 0.5 / unit
    for number in short:
        query[number, OWN.start + number] = strength
        key[number, PREVIOUS.start + number] = strength
    strength = (LONG_MATCH_LOGIT * math.sqrt(HEAD) / len(long)) ** 0.5 / unit
    for place, number in enumerate(long):
        query[number, PREVIOUS.start + number] = strength
        key[number, BEFORE.start + place] = strength


def _copy(attention: Any, head: int, read: list[int], write: slice, scale: float) -> None:
    """The head reads these numbers of the own codes of the positions that it attends to, and writes them to `write`."""
    value, output = _rows(attention.v_proj, head), attention.o_proj.weight[:, head * HEAD : (head + 1) * HEAD]
    value.zero_()
    output.zero_()
    for place, number in enumerate(read):
        value[place, OWN.start + number] = 1.0
        output[write.start + place, place] = scale


def _rows(projection: Any, head: int) -> Tensor:
    """[H, D] the rows of a projection that belong to a head; a view."""
    return projection.weight[head * HEAD : (head + 1) * HEAD]  # type: ignore[no-any-return]
