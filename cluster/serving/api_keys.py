"""API keys of the server's clients. Only their hashes are kept, so that no record or log contains a key."""

import hashlib
import hmac
from dataclasses import dataclass

VARIABLE = "RELOOK_SERVE_KEYS"
"""Environment variable with the keys, separated by commas."""


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The hashes of the accepted keys; without any, every client is accepted."""

    digests: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, text: str) -> "ApiKeys":
        """The keys in the value of VARIABLE."""
        return cls(tuple(_digest(key.strip()) for key in text.split(",") if key.strip()))

    def client(self, authorization: str) -> str | None:
        """Name of the client with this Authorization header (`Bearer KEY`); None if its key is not accepted.

        Compares with every key in constant time.
        """
        scheme, _, key = authorization.partition(" ")
        given = _digest(key.strip() if scheme.lower() == "bearer" else "")
        matches = [hmac.compare_digest(given, digest) for digest in self.digests]
        return f"key-{given.hex()[:16]}" if any(matches) else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
