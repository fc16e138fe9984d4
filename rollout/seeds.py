"""Random seeds that depend on a request's content, not on time or machine."""

import hashlib


def seed_of(*parts: object) -> int:
    """A 31-bit seed from any parts with a stable `str`. Example: `seed_of(7, "train/hero/3", 0, "round", 1)`."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
