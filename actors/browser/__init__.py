"""The renderer: Chromium and its render cache."""
