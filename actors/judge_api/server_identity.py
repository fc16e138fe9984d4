"""The model of a server in the server's own words: a model name in the settings may be an alias of another model."""

from typing import Any

MAX_NAMES = 10
MAX_CHARS = 200


class ServerIdentity:
    """Collects the names in a server's list of models and in its answers, each once, bounded in number and length."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._found: dict[str, dict[str, None]] = {"models": {}, "answered_by": {}, "system_fingerprints": {}}

    def listed(self, answer: object) -> None:
        """Notes the entry of the requested model in a list of models, or all entries if it has none."""
        rows = answer.get("data") if isinstance(answer, dict) else None
        entries = [one for one in rows if isinstance(one, dict)] if isinstance(rows, list) else []
        for entry in [one for one in entries if one.get("id") == self.model] or entries:
            # vLLM's `root` is the path or name of the loaded weights.
            root = entry.get("root")
            name = entry.get("id")
            self._add("models", f"{name} ({root})" if isinstance(root, str) and root != name else name)

    def answered(self, answer: object) -> None:
        """Notes the model and the fingerprint of a chat completion."""
        if isinstance(answer, dict):
            self._add("answered_by", answer.get("model"))
            self._add("system_fingerprints", answer.get("system_fingerprint"))

    def summary(self) -> dict[str, list[str]]:
        """All names: `models`, `answered_by` and `system_fingerprints`, in the order in which they were first seen."""
        return {kind: list(names) for kind, names in self._found.items()}

    def _add(self, kind: str, name: Any) -> None:
        names = self._found[kind]
        if isinstance(name, str) and name and len(names) < MAX_NAMES:
            names[name[:MAX_CHARS]] = None
