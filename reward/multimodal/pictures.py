"""Pictures as a judge's server takes them: in its format, and no larger than it allows."""

from io import BytesIO
from typing import Literal

from PIL import Image

Format = Literal["png", "jpeg", "webp"]
SHRINK = 0.7
BASE64 = 3 / 4
"""Bytes of a picture in a byte of its data URI."""
WORDS_MB = 1.0
"""What the texts of a request may take."""


def square(color: str, side: int = 64) -> bytes:
    """A PNG of one colour, to ask a judge about; some models take no smaller picture."""
    data = BytesIO()
    Image.new("RGB", (side, side), color).save(data, "PNG")
    return data.getvalue()


def limit_of(picture_mb: float, request_mb: float, num: int) -> int:
    """Bytes that each of `num` pictures of a request may have."""
    share = max(request_mb - WORDS_MB, request_mb / 2) / max(1, num)
    return int(min(picture_mb, share) * 1_000_000 * BASE64)


def fit(png: bytes, form: Format, quality: int, side: int, limit: int) -> tuple[str, bytes]:
    """The format and the bytes of a picture, at most `side` pixels long.

    One over `limit` bytes becomes a JPEG, then a smaller one.
    """
    with Image.open(BytesIO(png)) as opened:
        if form == "png" and max(opened.size) <= side and len(png) <= limit:
            return form, png
        picture = opened.convert("RGB")
    scale = min(1.0, side / max(picture.size))
    while True:
        size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
        drawn = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
        data = BytesIO()
        drawn.save(data, form, **({} if form == "png" else {"quality": quality}))
        if len(data.getvalue()) <= limit or size == (1, 1):
            return form, data.getvalue()
        scale, form = (scale, "jpeg") if form == "png" else (scale * SHRINK, form)
