"""Public task sets: readers that convert their published files to tasks."""
