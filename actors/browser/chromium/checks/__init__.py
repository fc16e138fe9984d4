"""Locators and steps of probes that Playwright users know."""
