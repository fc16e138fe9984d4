"""Reward of web pages for verl, from a ReLook server.

    relook serve --model MODEL                      # or --run RUN
    python -m verl.trainer.main_ppo custom_reward_function.path=verl_reward.py \\
        custom_reward_function.name=compute_score …

Each row of the data set has the brief in `extra_info.brief`, and as `reward_model.ground_truth` the source of a
reference page, or an empty text if the server's critic needs none. The model answers with a page in one ```html block.
RELOOK_SERVER is the server's address, RELOOK_KEY a key if it needs one.
"""

import os
import re
import time
from typing import Any

import httpx

PAGE = re.compile(r"```html\n(.*?)\n```", re.DOTALL)
TRIES = 5


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any] | None = None, **_: Any
) -> dict[str, float]:
    """The critic's reward in [0, 1] as `score`, which verl trains on, and its parts, which verl logs."""
    found = PAGE.findall(solution_str)
    if len(found) != 1:
        return {"score": 0.0, "valid": 0.0, "critic": 0.0}
    body = {"html": found[0], "brief": (extra_info or {})["brief"], "reference_html": ground_truth or None}
    answer = ask("/judge", body)
    return {"score": float(answer["reward"]), "valid": float(answer["valid"]), "critic": float(answer["score"])}


def ask(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request. Raises after several tries: a fault of the server must not become a reward of zero."""
    headers = {"Authorization": f"Bearer {os.environ['RELOOK_KEY']}"} if "RELOOK_KEY" in os.environ else {}
    address = os.environ.get("RELOOK_SERVER", "http://localhost:8330")
    for left in reversed(range(TRIES)):
        answer = httpx.post(f"{address}{path}", json=body, headers=headers, timeout=600)
        if answer.status_code not in (429, 503) or not left:
            break
        time.sleep(float(answer.headers.get("Retry-After", 5)))
    if answer.is_error:
        raise RuntimeError(f"{path}: {answer.status_code} {answer.json()['error']['message']}")
    result: dict[str, Any] = answer.json()
    return result
