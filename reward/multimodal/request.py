"""Changes to a chat request: one picture a message, and a second question after an answer that was no judgment."""

from typing import Any

Json = dict[str, Any]
SEED_STEP = 1000
"""Between the seeds of two tries; judgments of one page have seeds from 0 on."""


def one_picture_a_message(messages: list[Json]) -> list[Json]:
    """The same conversation with each picture in a message of its own, for servers that take no more in one."""
    *before, last = messages
    groups: list[list[Json]] = [[]]
    for part in last["content"]:
        if part["type"] == "image_url" and any(one["type"] == "image_url" for one in groups[-1]):
            # The text above a picture says what it shows.
            caption = groups[-1].pop() if groups[-1][-1]["type"] == "text" else None
            groups.append([caption] if caption else [])
        groups[-1].append(part)
    spread: list[Json] = []
    for group in groups:
        # Many chat templates want the roles to alternate.
        spread += [{"role": "assistant", "content": "Go on."}] if spread else []
        spread.append({"role": "user", "content": group})
    return [*before, *spread]


def again(body: Json, hint: str, number: int) -> Json:
    """The request of try `number` + 1: it says what was wrong with the last answer, and has another seed."""
    *before, last = body["messages"]
    said = {"type": "text", "text": f"An earlier answer could not be used. {hint}"}
    changed = body | {"messages": [*before, last | {"content": [*last["content"], said]}]}
    return changed | ({"seed": body["seed"] + SEED_STEP * number} if "seed" in body else {})
