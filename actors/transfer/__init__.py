"""Both ends of a weight transfer from the learner to the engines."""
