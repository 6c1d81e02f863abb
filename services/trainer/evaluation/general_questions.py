"""A small suite of general ability: questions that every general model can answer.

Written for this project; none is from a public benchmark, so none can have been learnt by heart.
Facts, language, everyday reasoning and arithmetic; the right option stands first here and is told
by likelihood, so its place does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A beginning and four ways to end it."""

    text: str
    right: str
    wrong: tuple[str, str, str]


QUESTIONS = tuple(
    Question(text, right, (first, second, third))
    for text, right, first, second, third in (
        ("The capital of France is", "Paris", "Vienna", "Cairo", "Lima"),
        ("The capital of Japan is", "Tokyo", "Oslo", "Madrid", "Nairobi"),
        ("Water freezes and turns into", "ice", "smoke", "sand", "gold"),
        ("The planet that people live on is called", "Earth", "Venus", "Pluto", "Saturn"),
        ("A week has as many days as", "seven", "three", "twelve", "forty"),
        ("The opposite of hot is", "cold", "tall", "blue", "loud"),
        ("The opposite of empty is", "full", "green", "early", "thin"),
        ("Bees make", "honey", "bread", "paper", "glass"),
        ("A cow gives", "milk", "petrol", "ink", "wine"),
        ("At night the sky is", "dark", "square", "salty", "wooden"),
        ("To cut paper you would use", "scissors", "a pillow", "a lamp", "soup"),
        ("When it rains, people open their", "umbrellas", "envelopes", "sandwiches", "pianos"),
        ("A doctor who looks after teeth is a", "dentist", "pilot", "baker", "painter"),
        ("Two plus three equals", "five", "nine", "one", "fifty"),
        ("Ten minus four equals", "six", "twenty", "three", "eleven"),
        ("Three times three equals", "nine", "four", "thirty", "seven"),
        ("Half of one hundred is", "fifty", "ninety", "ten", "seventy"),
        ("One hour has as many minutes as", "sixty", "ten", "one hundred", "seven"),
        ("The plural of child is", "children", "childs", "childes", "childer"),
        ("Yesterday she went home; today she", "goes home", "goed home", "gone home", "wents home"),
        ("Neither of the answers", "is right", "are being right", "be right", "am right"),
        ("He is taller", "than his brother", "then his brother", "as his brother is", "of brother"),
        ("Ice left in the sun will", "melt", "sing", "grow", "rust"),
        ("Fish breathe with their", "gills", "wheels", "feathers", "leaves"),
        ("Birds fly with their", "wings", "roots", "hooves", "fins"),
        ("A triangle has as many sides as", "three", "eight", "two", "twenty"),
        ("The largest of these animals is the", "whale", "mouse", "bee", "cat"),
        ("Plants need sunlight and", "water", "petrol", "shoes", "television"),
        ("If all cats are animals, then my cat is", "an animal", "a stone", "a plant", "a number"),
        (
            "Anna is older than Ben, and Ben is older than Carl. The youngest is",
            "Carl",
            "Anna",
            "Ben and Anna",
            "nobody",
        ),
        ("The glass fell on the stone floor and", "broke", "slept", "laughed", "voted"),
        ("He was hungry, so he", "ate something", "painted a wall", "turned off", "rained"),
        ("The library was closed, so she could not borrow a", "book", "cloud", "river", "bus"),
        ("The season after spring is", "summer", "Monday", "midnight", "October"),
        ("The first month of the year is", "January", "August", "Sunday", "Easter"),
        ("The colour of fresh grass is", "green", "purple", "silver", "pink"),
        ("Gold and iron are", "metals", "fruits", "rivers", "songs"),
        ("A person who writes novels is an", "author", "engine", "orchard", "island"),
        ("To see things that are very far away, use a", "telescope", "spoon", "blanket", "fork"),
        ("The heart pumps", "blood", "air", "sand", "light"),
    )
)
