"""The learner rank actor."""
