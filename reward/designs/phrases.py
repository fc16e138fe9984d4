"""Slots shared by several families, and their phrasings in briefs."""

from reward.designs.palette import DARKS, LIGHTS
from reward.designs.words import TITLES

COLORS = {"canvas": tuple(LIGHTS), "accent": tuple(DARKS)}
"""A light page with one dark accent."""
HEADED = {**COLORS, "title": TITLES}
"""`COLORS` with a heading."""

CANVAS = (
    "a {canvas} page background",
    "the page is {canvas}",
    "use {canvas} behind everything",
    "set the background to {canvas}",
    "background color {canvas}",
)
ALIGN = (
    "everything is {align}-aligned",
    "text alignment {align}",
    "align all text to the {align}",
    "{align}-aligned text",
)
TITLE = (
    'the title reads "{title}" in {accent}',
    'put "{title}" as the heading, colored {accent}',
    'a {accent} heading "{title}"',
    'its heading says "{title}" in {accent}',
)
BUTTON = (
    'a {accent} button says "{button}" in white',
    'add a {accent} button with white text "{button}"',
    'the button "{button}" is white on {accent}',
)
