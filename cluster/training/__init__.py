"""The training loop and its parts: run state, stream of groups, exams, metrics."""
