"""Classifies refusals of a judge's server: which setting to change, and whether a retry helps."""

import re
from typing import Any

from rollout.errors import BudgetSpent, CriticFault, RelookError, SettingsError

UNSUPPORTED = re.compile(
    r"unsupported|not (?:\w+ )?support|unknown|unrecogni[sz]ed|extra|not (?:permitted|allowed)|forbidden|unexpected"
    r"|cannot find|invalid",
    re.IGNORECASE,
)
PARAMETERS = {
    "max_tokens": 'set critic.tokens_field = "max_completion_tokens", or critic.omit = ["max_tokens"]',
    "temperature": 'set critic.omit = ["temperature"], or critic.temperature to an accepted value',
    "seed": 'set critic.omit = ["seed"]',
    "response_format": 'set critic.answer_format = "json_object" or "text"',
    "json_schema": 'set critic.answer_format = "json_object" or "text"',
}
"""What to set when a server rejects a parameter."""
NAMED = re.compile(rf"(?<!\w)(?:{'|'.join(PARAMETERS)})(?!\w)")
PICTURES = re.compile(r"\b(?:image|picture)", re.IGNORECASE)
TOO_MUCH = re.compile(r"too (?:large|many|big)|at most|exceed|maximum|only (?:one|1|supports)|limit", re.IGNORECASE)
QUOTA = re.compile(
    r"insufficient[_ ](?:quota|balance|credits?|funds)|current quota|credit balance|out of credits|billing|payment",
    re.IGNORECASE,
)
FOR_A_WHILE = re.compile(r"per.?(?:minute|second)|retry.?(?:delay|after|in)\b|try again in", re.IGNORECASE)
"""Signs of a short rate limit, which is waited for."""


def is_spent(status: int, said: str, waits: bool) -> bool:
    """Whether a refusal means a used-up quota; `waits` if the response names a retry time."""
    if status == 402:
        return True
    return status in (400, 403, 429) and QUOTA.search(said) is not None and not waits and not FOR_A_WHILE.search(said)


def refusal(status: int, said: str, location: str, name: str, model: str) -> RelookError:
    """The error for a refused request, in one line with the setting to change.

    SettingsError if every request is affected, CriticFault if maybe only this one.
    """
    head = f"{model} rejects this request with status {status}: {said}"
    if 300 <= status < 400:
        return SettingsError(
            f"critic.base_url: {name} redirects requests to {location or 'an unknown address'} (status {status}); "
            f"set critic.base_url to that address without /chat/completions"
        )
    if status in (401, 403):
        return SettingsError(f"{head}; check the variable that critic.key_env names")
    if status in (404, 405):
        return SettingsError(f"{head}; check critic.base_url ({name}) and critic.model")
    if status == 413 or (PICTURES.search(said) and TOO_MUCH.search(said)):
        return CriticFault(
            f"{head}; lower critic.max_pictures, critic.picture_mb, critic.picture_side or critic.request_mb, or set "
            "critic.one_picture = true"
        )
    if status in (400, 422) and UNSUPPORTED.search(said) and (named := NAMED.search(said)):
        return SettingsError(f"{head}; {PARAMETERS[named[0]]}")
    return CriticFault(head)


def spent(status: int, said: str, model: str) -> BudgetSpent:
    """The error for a quota that is used up."""
    return BudgetSpent(f"{model}: its server's quota is used up (status {status}: {said}); raise it, then --resume")


def error_within(answer: Any) -> tuple[int, str] | None:
    """Status and message of an error in a 200 response; status 0 if it has none."""
    choice = next(iter(answer.get("choices") or ()), None) if isinstance(answer, dict) else None
    holders = [one for one in (answer, choice) if isinstance(one, dict)]
    error = next((one["error"] for one in holders if one.get("error")), None)
    if error is None:
        return (502, "finish_reason is error") if choice and choice.get("finish_reason") == "error" else None
    code = str(error.get("code") or error.get("status") or "") if isinstance(error, dict) else ""
    said = str(error.get("message") or error) if isinstance(error, dict) else str(error)
    if code.isdecimal() and 400 <= int(code) < 600:
        return int(code), said
    return (429 if re.search(r"rate.?limit", code + said, re.IGNORECASE) else 0), said
