"""Batches for a tiny model."""

import random
import socket
from dataclasses import replace

from rollout.records import FeedbackTarget, Message, RevisionTarget, Sample


def samples(num: int = 6, seed: int = 0) -> tuple[Sample, ...]:
    """Random samples of 10 to 60 tokens whose log-probs are close to those of a random model."""
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


def siblings(num: int = 3, seed: int = 0) -> tuple[Sample, ...]:
    """The same samples, each with two siblings: one with other tokens, one with a single token."""
    return tuple(
        replace(one, token_ids=tokens, logprobs=one.logprobs[: len(tokens)], advantage=one.advantage + shift)
        for one in samples(num, seed)
        for tokens, shift in ((one.token_ids, 0.0), (one.token_ids[::-1], -0.5), (one.token_ids[:1], 0.5))
    )


def hindsights(num: int = 2) -> tuple[RevisionTarget, ...]:
    """The first samples as revisions whose first prompt was a shorter one."""
    return tuple(
        RevisionTarget(prompt_ids=sample.prompt_ids[:1], shown_ids=sample.prompt_ids, token_ids=sample.token_ids)
        for sample in samples(num)
    )


LESSONS = tuple(
    FeedbackTarget(messages=(Message(role="user", content=brief),), target=f"<feedback>\n- {said}\n</feedback>")
    for brief, said in (("a card", "The title is too small."), ("a price table", "The page is blank."))
)


def address() -> str:
    """A free local address for the process group of the ranks."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{door.getsockname()[1]}"
