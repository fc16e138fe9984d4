"""Ray: actors, pools, routing and health."""
