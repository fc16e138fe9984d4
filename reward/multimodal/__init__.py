"""The multimodal critic's side of a judgment that needs no network: what it is asked, and how its answer is read."""
