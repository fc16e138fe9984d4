"""MLflow tracking: named metrics, held-out pictures, episodes as a table and as traces, data sets and champions."""
