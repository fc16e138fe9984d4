"""The hands: plain classes around vLLM, Chromium, a critic and a learner rank, hired elsewhere."""
