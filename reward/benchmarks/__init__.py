"""Public benchmarks: formats and scoring rules, without engines."""
