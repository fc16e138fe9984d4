"""The library mirror: local copies of libraries and fonts, served to pages under the addresses of public CDNs."""
