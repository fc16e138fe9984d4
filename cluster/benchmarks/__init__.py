"""Public benchmarks: items, answers, grading, results."""
