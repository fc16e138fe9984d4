"""The training loop and what it needs: the state of a run, the stream of groups, exams, metrics."""
