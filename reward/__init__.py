"""How good it was: validity, score, rubric, visual metrics and the built-in designs."""
