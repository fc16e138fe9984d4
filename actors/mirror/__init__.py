"""The library mirror: libraries and fonts served to pages under the addresses of public CDNs."""
