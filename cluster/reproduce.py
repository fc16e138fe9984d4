"""Reproduces the claims of the method: `python -m cluster.reproduce [--quick]`."""

import sys

from cluster.experiments.claims.reproduce import main

if __name__ == "__main__":
    sys.exit(main())
