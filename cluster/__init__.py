"""The run: settings, hiring, the loop, tracking and the commands."""
