"""Rewards of web pages for TRL's GRPOTrainer, from a ReLook server.

    relook serve --model MODEL                      # or --run RUN
    GRPOTrainer(reward_funcs=[valid_reward, judge_reward], train_dataset=dataset, …)

The dataset has the columns `prompt` and `brief`, and `reference_html` unless the server's critic needs none. The model
answers with a page in one ```html block. RELOOK_SERVER is the server's address, RELOOK_KEY a key if it needs one.
"""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

PAGE = re.compile(r"```html\n(.*?)\n```", re.DOTALL)
AT_ONCE = 16
TRIES = 5


def valid_reward(completions: list[Any], **columns: Any) -> list[float]:
    """1 for each completion whose page renders validly, else 0."""
    bodies = [None if html is None else {"html": html, "screenshots": False} for html in map(page_of, completions)]
    return [0.0 if answer is None else float(answer["valid"]) for answer in ask_all("/render", bodies)]


def judge_reward(
    completions: list[Any], brief: list[str], reference_html: list[str | None] | None = None, **columns: Any
) -> list[float]:
    """The critic's reward in [0, 1] of each completion; 0 without a page, or if it does not render validly."""
    references = reference_html or [None] * len(completions)
    bodies = [
        None if (html := page_of(completion)) is None else {"html": html, "brief": text, "reference_html": reference}
        for completion, text, reference in zip(completions, brief, references, strict=True)
    ]
    return [0.0 if answer is None else float(answer["reward"]) for answer in ask_all("/judge", bodies)]


def page_of(completion: Any) -> str | None:
    """The page of a completion: a text, or a conversation whose last message has it."""
    text = completion if isinstance(completion, str) else completion[-1]["content"]
    found = PAGE.findall(text)
    return found[0] if len(found) == 1 else None


def ask_all(path: str, bodies: list[dict[str, Any] | None]) -> list[dict[str, Any] | None]:
    """The answers to several requests, in order; None where there is no body."""
    headers = {"Authorization": f"Bearer {os.environ['RELOOK_KEY']}"} if "RELOOK_KEY" in os.environ else {}
    address = os.environ.get("RELOOK_SERVER", "http://localhost:8330")
    with httpx.Client(base_url=address, headers=headers, timeout=600) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda body: None if body is None else ask(client, path, body), bodies))


def ask(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request. Raises after several tries: a fault of the server must not become a reward of zero."""
    for left in reversed(range(TRIES)):
        answer = client.post(path, json=body)
        if answer.status_code not in (429, 503) or not left:
            break
        time.sleep(float(answer.headers.get("Retry-After", 5)))
    if answer.is_error:
        raise RuntimeError(f"{path}: {answer.status_code} {answer.json()['error']['message']}")
    result: dict[str, Any] = answer.json()
    return result
