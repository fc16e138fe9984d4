"""Actor classes around vLLM, Chromium, critics and learner ranks; they do not import Ray."""
