"""The learner rank."""
