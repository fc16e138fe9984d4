"""Ray actors: launch, pools, request routing and health checks."""
