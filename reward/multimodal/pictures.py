"""Converts and shrinks pictures to the format and size that a critic's server accepts."""

from io import BytesIO
from typing import Literal

from PIL import Image

Format = Literal["png", "jpeg", "webp"]
SHRINK = 0.7
BASE64 = 3 / 4
"""Picture bytes per byte of its data URI."""
WORDS_MB = 1.0
"""Megabytes of a request reserved for its texts."""


def square(color: str, side: int = 64) -> bytes:
    """A PNG of one colour, for test requests; some models reject smaller pictures than 64 x 64."""
    data = BytesIO()
    Image.new("RGB", (side, side), color).save(data, "PNG")
    return data.getvalue()


def limit_of(picture_mb: float, request_mb: float, num: int) -> int:
    """Maximum bytes of each of `num` pictures of a request."""
    share = max(request_mb - WORDS_MB, request_mb / 2) / max(1, num)
    return int(min(picture_mb, share) * 1_000_000 * BASE64)


def fit(png: bytes, form: Format, quality: int, side: int, limit: int) -> tuple[str, bytes]:
    """Format and bytes of a picture that is at most `side` pixels long.

    A picture over `limit` bytes is converted to JPEG, then shrunk until it fits.
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
