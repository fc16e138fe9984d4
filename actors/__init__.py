"""Actor classes around vLLM, Chromium, critics and learner ranks. Plain classes: another package runs them on Ray."""
