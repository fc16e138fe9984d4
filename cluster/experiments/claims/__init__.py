"""The claims of the method, computed from finished runs."""
