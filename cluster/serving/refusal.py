"""Refusals: requests that are answered with an HTTP status and one line instead of a result."""


class Refusal(Exception):
    """A request that is refused. The message is one line for the client."""

    def __init__(self, status: int, message: str, *, kind: str, retry_s: float | None = None) -> None:
        """`status` is the HTTP status, `kind` the error's type as in OpenAI's API.

        `retry_s` are the seconds after which the client may try again.
        """
        super().__init__(message)
        self.status, self.kind, self.retry_s = status, kind, retry_s


def invalid(message: str, status: int = 400) -> Refusal:
    """Refuses a request that is wrong by itself."""
    return Refusal(status, message, kind="invalid_request_error")


def crowded(message: str, retry_s: float) -> Refusal:
    """Refuses a request of a client, or of a server, that has too many."""
    return Refusal(429, message, kind="rate_limit_error", retry_s=max(1.0, retry_s))


def unavailable(message: str) -> Refusal:
    """Refuses a request because an engine, a browser or a critic cannot answer it now."""
    return Refusal(503, message, kind="server_error", retry_s=5.0)
