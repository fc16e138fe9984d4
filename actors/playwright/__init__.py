"""The Playwright Test actor: runs the specifications of public benchmarks on untrusted pages."""
