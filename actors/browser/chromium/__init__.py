"""One Chromium, driven frame by frame: launch, protocol, page time, one page's render, probes."""
