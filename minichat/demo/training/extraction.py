"""Extraction: a name, an age and a city, from a sentence or a bare list, as JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import permutations

from . import words
from .memory import a_name
from .split import TEST, TRAIN, Phrasings, pick
from .tools import a_city, accented
from .turns import Turn

KEYS = ("name", "age", "city")

SENTENCES: Phrasings = (
    "My name is {n}, I am {a} years old and I live in {c}.", "I am {n}, {a} years old, from {c}.",
    "{n} is {a} years old and lives in {c}.", "{n}, aged {a}, lives in {c}.", "Meet {n} ({a}) from {c}.",
    "I'm {n}, I'm {a} and I live in {c}.", "In {c} lives {n}, who is {a} years old.", "Hello, I am {n} from {c} and "
    "I am {a}.", "{n} from {c} is {a} years old.", "At the age of {a}, {n} moved to {c}.", "{n} was born in {c} {a} "
    "years ago.", "The {a}-year-old {n} lives in {c}.", "{n} lives in {c}. The age is {a}.", "They call me {n}. I am "
    "{a} and my home is {c}.", "I live in {c}, my name is {n} and I am {a} years old.", "I am {a} years old, my name "
    "is {n} and I come from {c}.", "Our guest is {n}, {a}, of {c}.", "Dear team, {n} ({a}, {c}) starts on Monday.",
    "{n} turned {a} yesterday in {c}.", "The person is called {n}, is {a} and lives in {c}.", "Name {n}, age {a}, city "
    "{c}.", "Please welcome {n} from {c}, {a} years of age.", "My friend {n} is {a} and lives in {c}.", "{c} is the "
    "home of {n}, {a} years old.", "{n} has lived in {c} for all of {a} years.", "{n}, a teacher from {c}, is {a}.",
    "My sister {n} lives in {c} and is {a} years old.", "I was born {a} years ago in {c}; my name is {n}.",
    "{n} works in {c}. Last week {n} turned {a}.", "This is {n}, {a} years old, who lives in {c}.",
    "My name is {n} and I'm {a}. I live in {c}.", "Hi! {n} here, {a}, from {c}.",
)  # fmt: skip
LABELLED: Phrasings = (
    "Name: {n}, Age: {a}, City: {c}", "name: {n}, age: {a}, city: {c}", "Name: {n}\nAge: {a}\nCity: {c}",
    "name={n}, age={a}, city={c}", "City: {c}, Name: {n}, Age: {a}", "Age: {a}; Name: {n}; City: {c}",
    "Name: {n}; City: {c}; Age: {a}", "city: {c}\nage: {a}\nname: {n}", "Name {n}, Age {a}, City {c}",
)  # fmt: skip
REQUESTS: Phrasings = (
    "As JSON: {}", "Extract name, age and city: {}", "JSON: {}", "Give me this as JSON: {}", "{} Give me this as JSON.",
    "Turn this into JSON: {}", "Extract the data as JSON: {}", "{} As JSON, please.", "Write this as JSON: {}",
    "Extract name, age and city as JSON: {}", "Convert to JSON: {}", "To JSON: {}", "{} Extract name, age and city.",
    "Make JSON of this: {}", "Please extract name, age and city from this: {}", "Extract the name, the age and the "
    "city: {}", "Find name, age and city in this text: {}", "Parse this: {}", "{}\n\nAs JSON",
    "{}\n\nExtract name, age and city.", "Return JSON with name, age and city: {}", "Put this into JSON: {}",
    "Extract the person: {}", "Get the name, age and city from: {}", "What are the name, the age and the city? {}",
    "Extract: {}", "From this text, extract name, age and city: {}", "Name, age and city as a JSON object: {}",
    "as json: {}",
)  # fmt: skip
REQUESTS_OF_KEYS: Phrasings = (
    "Extract {k}: {t}", "Extract {k} as JSON: {t}", "As JSON with {k}: {t}", "{t} Give me {k} as JSON.",
    "JSON with {k}: {t}", "Only {k}, as JSON: {t}", "Find {k} in this text: {t}", "Get {k} from: {t}",
    "Return {k} as JSON: {t}", "{t}\n\nExtract {k}.", "I need {k} as JSON: {t}",
)  # fmt: skip
SYSTEM: Phrasings = (
    "Answer in JSON.", "Extract name, age and city as JSON.", "You turn texts into JSON with the keys name, age, city.",
    "Return JSON only.", "Always answer in JSON.", "You extract data. Answer with a JSON object.", "Answer only with "
    "JSON: name, age and city.", "Write JSON with name, age and city.", "Reply in JSON.", "Your output is JSON.",
    "Extract the person's name, age and city and return them as JSON.", "Output JSON.", "You are an extraction "
    "program: you answer in JSON.", "Respond with JSON only.", "The answer is a JSON object with name, age and city.",
    "You are a helpful assistant that outputs JSON.",
)  # fmt: skip
AGES = ("{}",) * 8 + ("{} years", "{} years old", "aged {}", "age {}", "({})")
SEPARATORS = (", ",) * 8 + (" - ", "; ", " / ", "\n", " | ", ",", " ")


def a_person(rng: random.Random, split: str, pieces: Sequence[str]) -> str:
    """A name of one to three parts, some with accents; the test's have a held-out part."""
    test = split == TEST
    first = words.HELD_OUT_ACCENTED_NAMES if test else words.ACCENTED_NAMES
    family = words.HELD_OUT_FAMILY_NAMES if test else words.FAMILY_NAMES

    def made_up() -> str:
        name = a_name(rng, split, pieces).capitalize()
        return accented(rng, name) if rng.random() < 0.12 and not test else name

    given = rng.choice(first) if rng.random() < 0.15 else made_up()
    draw = rng.random()
    if draw < 0.1:
        return given
    last = rng.choice(family) if rng.random() < (0.7 if test else 0.3) else made_up()
    if draw < 0.17:
        last = f"{rng.choice(('van', 'de', 'von', 'del', 'Mac', 'el', 'da', 'O.', 'J.', made_up()))} {last}"
    elif draw < 0.21:
        last = f"{last}-{made_up()}"
    elif draw < 0.24:
        given = f"{given}-{made_up()}"
    return f"{given} {last}"


def extraction(rng: random.Random, split: str, pieces: Sequence[str], asked: bool | None = None) -> Turn:
    """asked: whether the system prompt asks for JSON already, so that the message need not."""
    found = {"name": a_person(rng, split, pieces), "age": rng.randint(1, 99), "city": a_city(rng, split, pieces)}
    wordings = split if rng.random() < 0.5 else TRAIN
    kind = rng.choices(("bare", "labelled", "sentence"), (45, 8, 47))[0]
    if kind == "bare":
        text, found = bare_list(rng, split, found)
    else:
        frames = LABELLED if kind == "labelled" else SENTENCES
        text = pick(rng, frames, wordings).format(n=found["name"], a=found["age"], c=found["city"])
        if rng.random() < 0.06:
            text = text.rstrip(".")
    if (kind == "bare" and rng.random() < 0.8) or asked or (kind == "labelled" and rng.random() < 0.4):
        user = text
    elif rng.random() < 0.2:
        keys = rng.sample(KEYS, rng.choice((1, 2, 2, 3)))
        found = {key: found[key] for key in keys}
        the = "the " if rng.random() < 0.4 else ""
        named = [the + key for key in keys]
        listed = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
        user = pick(rng, REQUESTS_OF_KEYS, wordings).format(k=listed, t=text)
    else:
        user = pick(rng, REQUESTS, wordings).format(text)
    answer = json.dumps(found, ensure_ascii=False)
    return Turn("JSON", user, answer, (answer,), exact=True)


def bare_list(rng: random.Random, split: str, found: dict[str, object]) -> tuple[str, dict[str, object]]:
    """The three without a sentence, in any order.

    A city that comes before the name is a known one: nothing else would tell them apart.
    """
    order = rng.choice(list(permutations(KEYS))) if rng.random() < 0.4 else KEYS
    if order.index("city") < order.index("name"):
        known = rng.choice((words.CITIES, list(words.CAPITALS.values())))
        given = words.HELD_OUT_NAMES if split == TEST else words.NAMES
        family = words.HELD_OUT_FAMILY_NAMES if split == TEST else words.FAMILY_NAMES
        found = {"name": f"{rng.choice(given)} {rng.choice(family)}", "age": found["age"], "city": rng.choice(known)}
    separator = rng.choice(SEPARATORS)
    if separator == " " and (order[1] != "age" or "," in str(found["city"])):
        separator = ", "  # the number keeps the two apart
    if separator == " - " and "-" in str(found):
        separator = ", "
    shown = {**found, "age": rng.choice(AGES).format(found["age"])}
    return separator.join(str(shown[key]) for key in order), found
