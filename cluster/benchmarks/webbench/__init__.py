"""Web-Bench: projects of web pages that grow task by task, tested by Playwright specifications."""
