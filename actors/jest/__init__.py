"""The jest actor: runs tests of public benchmarks that open untrusted pages with puppeteer."""
