"""Word lists from which designs are generated, and random words."""

import random
import re

ADJECTIVES = (
    *("Amber", "Bright", "Calm", "Clear", "Cosmic", "Daily", "Early", "Fresh", "Gentle", "Golden", "Happy", "Hidden"),
    *("Honest", "Little", "Lucky", "Modern", "Noble", "Open", "Polar", "Quiet", "Rapid", "Royal", "Silent", "Silver"),
    *("Simple", "Solar", "Steady", "Sunny", "Urban", "Velvet", "Vivid", "Wild"),
)
NOUNS = (
    *("Anchor", "Bakery", "Bridge", "Canyon", "Castle", "Circle", "Cloud", "Coffee", "Comet", "Falcon", "Forest"),
    *("Garden", "Harbor", "Island", "Journal", "Kitchen", "Ladder", "Lantern", "Market", "Meadow", "Mirror"),
    *("Museum", "Ocean", "Orchard", "Planet", "River", "Rocket", "Studio", "Summit", "Temple", "Valley", "Window"),
)
TITLES = tuple(f"{adjective} {noun}" for adjective in ADJECTIVES for noun in NOUNS)
"""1024 names of products, places and pages."""

FIRST_NAMES = (
    *("Ada", "Boris", "Clara", "Dario", "Elena", "Felix", "Grace", "Hugo", "Irene", "Jonas", "Karin", "Leo"),
    *("Maria", "Nils", "Olga", "Pablo", "Rosa", "Simon", "Tara", "Victor"),
)
LAST_NAMES = (
    *("Adler", "Bauer", "Costa", "Dubois", "Evans", "Fischer", "Garcia", "Hansen", "Ito", "Jensen", "Kumar"),
    *("Lopez", "Moreau", "Novak", "Okafor", "Rossi"),
)
PEOPLE = tuple(f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES)
ROLES = (
    *("Architect", "Baker", "Chemist", "Designer", "Doctor", "Editor", "Engineer", "Gardener", "Painter", "Pilot"),
    *("Teacher", "Writer"),
)

BUTTONS = (
    *("Get started", "Sign up", "Try it now", "Learn more", "Join us", "Buy now", "Read on", "Contact us"),
    *("See plans", "Book a table", "Take a tour", "Download"),
)
LINES = (
    "Made by hand, built to last.",
    "All your notes in one place.",
    "Fresh ideas, every single day.",
    "A better way to work together.",
    "Small steps lead to big changes.",
    "Your next trip starts right here.",
    "Good food and good company.",
    "Simple tools for busy people.",
    "Learn something new tonight.",
    "Fast, safe and easy to use.",
    "We take care of the details.",
    "Find the things you love.",
    "Music for long quiet evenings.",
    "Save time and enjoy the view.",
    "Open to everyone, all year.",
    "Grow your garden with us.",
)
ITEMS = (
    *("Apples", "Bread", "Candles", "Dates", "Eggs", "Flour", "Grapes", "Honey", "Juice", "Lemons", "Milk", "Nuts"),
    *("Olives", "Pears", "Rice", "Sugar", "Tea", "Walnuts"),
)
SECTIONS = (
    *("About", "Blog", "Careers", "Docs", "Events", "Gallery", "Help", "Home", "News", "Prices", "Shop", "Team"),
)

LISTED: tuple[str, ...] = tuple(
    sorted(set(re.findall("[A-Za-z]+", " ".join((*TITLES, *PEOPLE, *ROLES, *BUTTONS, *LINES, *ITEMS, *SECTIONS)))))
)
"""Every word of the lists."""
ONSETS = (
    *("b", "br", "c", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pl", "qu", "r", "s"),
    *("sh", "st", "t", "th", "tr", "v", "w", "y", "z"),
)
VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ee", "oo", "ou")
CODAS = ("", "", "", "ck", "d", "l", "ll", "m", "n", "nd", "ng", "r", "s", "st", "t", "x")


def invent(like: str, rng: random.Random) -> str:
    """A random word, capitalised as `like` is: one of the lists, or one of random syllables."""
    if rng.random() < 0.5:
        word = rng.choice(LISTED)
    else:
        syllables = rng.randint(1, 3)
        word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(syllables))
    return word.capitalize() if like[0].isupper() else word.lower()
