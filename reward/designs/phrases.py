"""Ways to say what many families say: where text stands, how large it is, what colour the page is."""

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
    'the title reads "{title}"',
    'put "{title}" as the heading',
    'heading "{title}"',
    'its heading says "{title}"',
)
TITLE_COLOR = ("the heading is {accent}", "a heading in {accent}", "color the heading {accent}")
BUTTON = (
    'a {accent} button says "{button}" in white',
    'add a {accent} button with white text "{button}"',
    'the button "{button}" is white on {accent}',
)
