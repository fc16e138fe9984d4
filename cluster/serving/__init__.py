"""Serves a policy, the renderer and the critics over HTTP: plain classes, and a thin deployment on Ray Serve."""
