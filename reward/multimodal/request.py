"""Transforms chat requests: one picture per message, and retries after an invalid answer."""

from typing import Any

Json = dict[str, Any]
SEED_STEP = 1000
"""Seed distance between retries; judgments of one page use seeds from 0 upwards."""


def one_picture_a_message(messages: list[Json]) -> list[Json]:
    """Splits the last message into one message per picture, for servers that accept only one in each."""
    *before, last = messages
    groups: list[list[Json]] = [[]]
    for part in last["content"]:
        if part["type"] == "image_url" and any(one["type"] == "image_url" for one in groups[-1]):
            # The text before a picture is its caption.
            caption = groups[-1].pop() if groups[-1][-1]["type"] == "text" else None
            groups.append([caption] if caption else [])
        groups[-1].append(part)
    spread: list[Json] = []
    for group in groups:
        # Many chat templates require alternating roles.
        spread += [{"role": "assistant", "content": "Go on."}] if spread else []
        spread.append({"role": "user", "content": group})
    return [*before, *spread]


def again(body: Json, hint: str, number: int) -> Json:
    """The request of retry `number`: adds the fault of the last answer, and changes the seed."""
    *before, last = body["messages"]
    said = {"type": "text", "text": f"An earlier answer could not be used. {hint}"}
    changed = body | {"messages": [*before, last | {"content": [*last["content"], said]}]}
    return changed | ({"seed": body["seed"] + SEED_STEP * number} if "seed" in body else {})
