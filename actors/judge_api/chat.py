"""Builds chat requests to a judge: parameters, answer format and pictures in the form that its server accepts."""

import base64
from collections.abc import Sequence
from typing import Any

from actors.settings import CriticSettings
from reward.multimodal.pictures import fit, limit_of
from reward.multimodal.request import one_picture_a_message


def chat_body(
    settings: CriticSettings, messages: Sequence[dict[str, Any]], schema: dict[str, Any], seed: int
) -> dict[str, Any]:
    """The body of a chat request whose answer is a JSON object of `schema`."""
    limits = {"temperature": settings.temperature, "seed": seed}
    if "max_tokens" not in settings.omit:
        limits[settings.tokens_field] = settings.max_tokens
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": one_picture_a_message(list(messages)) if settings.one_picture else list(messages),
        **{name: value for name, value in limits.items() if name not in settings.omit},
    }
    if settings.answer_format == "json_schema":
        named = {"name": "judgment", "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    elif settings.answer_format == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body | settings.extra_body


def data_address(settings: CriticSettings, png: bytes, num: int) -> str:
    """The data address of one of `num` pictures of a request, in the settings' format and size."""
    limit = limit_of(settings.picture_mb, settings.request_mb, num)
    form, data = fit(png, settings.picture_format, settings.picture_quality, settings.picture_side, limit)
    return f"data:image/{form};base64,{base64.b64encode(data).decode()}"
