"""The library mirror: what pages may load instead of the network, answered under the addresses of public CDNs."""
