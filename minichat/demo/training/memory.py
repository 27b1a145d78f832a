"""What the user said earlier: facts told, asked for later, or never told; and texts to repeat."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from . import words
from .split import TEST, Phrasings, held_out, pick
from .turns import Turn


@dataclass(frozen=True)
class Fact:
    tell: Phrasings
    told: str
    ask: Phrasings
    answer: str
    missing: str
    french: str


FACTS = {
    "name": Fact(
        ("My name is {}.", "I am {}.", "I'm {}.", "Call me {}.", "Hello, my name is {}.", "Hi, I'm {}.", "You can call "
         "me {}.", "People call me {}.", "This is {}.", "The name is {}.", "Hi! My name is {}", "Hey, I am {}.",
         "my name's {}", "Please call me {}.", "I am called {}.", "Remember that my name is {}.", "Hi, {} here.",
         "My first name is {}.", "They named me {}.",
         ("Hi, my name is {}.", "Hello, I am {}.", "Hello! I'm {}.", "My name is {}, by the way.",
          "By the way, I am {}.", "It's {} here.", "You may call me {}.", "My friends call me {}.",
          "Good day, I am {}.", "hey, my name is {}")),
        "Nice to meet you, {}!",
        ("What is my name?", "What's my name?", "Do you know my name?", "Do you remember my name?", "Who am I?",
         "What am I called?", "Tell me my name.", "Say my name.", "Can you tell me my name?", "What did I say my name "
         "was?", "what was my name", "Did you forget my name?", "Which name did I tell you?", "How am I called?",
         ("Tell me what my name is.", "What name did I give you?", "What was my name again?", "Remember my name?",
          "Can you remember my name?", "My name is?", "And what is my name?", "So what's my name?",
          "Please say my name.", "Do you still know my name?", "What do people call me?")),
        "Your name is {}.", "You have not told me your name yet.", "Vous vous appelez {}."),
    "city": Fact(
        ("I live in {}.", "I am from {}.", "I come from {}.", "My home is in {}.", "I'm living in {}.",
        "My city is {}.",
         "My home town is {}.", "I have a flat in {}.", "I moved to {}.", "I'm from {}."),
        "I will remember that you live in {}.",
        ("Where do I live?", "Where am I from?", "Which city do I live in?", "What is my city?", "Where is my home?",
         "Do you remember where I live?", "In which city do I live?", "Where do I come from?", "What city am I in?",
         "Tell me where I live.",
         ("Where is it that I live?", "What city do I live in?", "Do you know where I live?",
          "Which city am I from?", "And where do I live?", "Where did I say I live?", "What is my home town?")),
        "You live in {}.", "You have not told me where you live.", "Vous habitez à {}."),
    "colour": Fact(
        ("My favourite colour is {}.", "My favorite color is {}.", "I like the colour {} best.", "I love the color {}.",
         "The colour I like most is {}.", "{} is my favourite colour.", "My preferred colour is {}.",
         "Of all colours I like {} most.", "Note that my favourite colour is {}."),
        "I will remember that your favourite colour is {}.",
        ("What is my favourite colour?", "What's my favorite color?", "Which colour do I like?", "Do you know my "
         "favourite colour?", "Which colour do I like best?", "Tell me my favourite colour.",
         "What colour do I prefer?",
         "Do you remember my favorite color?", "My favourite colour is?",
         ("And what is my favourite colour?", "What was my favourite colour?",
          "Can you tell me my favourite colour?", "Which is my favourite colour?", "What colour do I like?",
          "What colour do I like most?", "Say my favourite colour.")),
        "Your favourite colour is {}.", "You have not told me your favourite colour.", "Votre couleur préférée : {}."),
    "food": Fact(
        ("My favourite food is {}.", "I love to eat {}.", "I like {} most of all foods.", "My favorite dish is {}.",
         "What I like to eat most is {}.", "I could eat {} every day.", "My favorite food is {}."),
        "I will remember that your favourite food is {}.",
        ("What is my favourite food?", "What do I like to eat?", "What's my favorite food?", "Which food do I like?",
         "Do you remember what I like to eat?", "What is my favorite dish?", "Which food do I like best?"),
        "Your favourite food is {}.", "You have not told me your favourite food.", "Votre plat préféré : {}."),
    "job": Fact(
        ("I am a {}.", "I work as a {}.", "My job is {}.", "I'm a {} by profession.", "I earn my money as a {}.",
         "By trade I am a {}.", "I have been a {} for years."),
        "I will remember that you work as a {}.",
        ("What is my job?", "What do I do for a living?", "What's my profession?", "What do I work as?",
         "Do you remember my job?", "Which job do I have?", "What kind of work do I do?"),
        "You work as a {}.", "You have not told me your job.", "Votre métier : {}."),
    "hobby": Fact(
        ("My hobby is {}.", "I like {} in my free time.", "In my spare time I enjoy {}.", "My favourite hobby is {}.",
         "I spend my weekends with {}.", "I do a lot of {}."),
        "I will remember that your hobby is {}.",
        ("What is my hobby?", "What do I do in my free time?", "What's my hobby?", "Which hobby do I have?",
         "Do you remember my hobby?", "What do I enjoy in my spare time?"),
        "Your hobby is {}.", "You have not told me your hobby.", "Votre loisir : {}."),
    "age": Fact(
        ("I am {} years old.", "I'm {} years old.", "My age is {}.", "I am {}, if you want to know my age.",
         "I turned {} this year.", "I'm {} years of age."),
        "I will remember that you are {} years old.",
        ("How old am I?", "What is my age?", "Do you remember how old I am?", "What's my age?", "Tell me my age.",
         "Do you know how old I am?"),
        "You are {} years old.", "You have not told me your age.", "Vous avez {} ans."),
    "pet": Fact(
        ("My {k} is called {}.", "I have a {k} named {}.", "My {k}'s name is {}.", "I have a {k} called {}.",
         "The name of my {k} is {}.", "I own a {k}. Its name is {}.", "We have a {k} named {}."),
        "I will remember that your {k} is called {}.",
        ("What is my {k} called?", "What is the name of my {k}?", "What's my {k}'s name?", "How is my {k} called?",
         "Do you remember the name of my {k}?", "What did I call my {k}?", "Which name does my {k} have?"),
        "Your {k} is called {}.", "You have not told me about your {k}.", "Il s'appelle {}."),
    "relative": Fact(
        ("My {k} is called {}.", "My {k}'s name is {}.", "The name of my {k} is {}.", "My {k} is named {}.",
         "I have a {k} called {}.", "I want to tell you that my {k} is called {}."),
        "I will remember that your {k} is called {}.",
        ("What is my {k} called?", "What is the name of my {k}?", "What's my {k}'s name?", "Who is my {k}?",
         "Do you remember the name of my {k}?", "What is my {k}'s name?"),
        "Your {k} is called {}.", "You have not told me about your {k}.", "Il ou elle s'appelle {}."),
    "secret": Fact(
        ("The secret word is {}.", "My password is {}.", "Remember this word: {}.", "Remember the word {}.",
         "The code word is {}.", "The pass key is {}.", "Keep this in mind: {}.", "Please remember {}.",
         ("The secret is {}.", "The magic word is {}.", "Memorize this: {}.", "Do not forget the word {}.",
          "My secret word is {}.", "Here is the code word: {}.", "Keep the word {} in mind.")),
        "I will remember {}.",
        ("What is the secret word?", "What was my password?", "Which word should you remember?", "What was the word?",
         "What is the code word?", "What is the pass key?", "What did I ask you to remember?",
         "Tell me the word that I told you.",
         ("What's the secret word?", "Do you remember the secret word?", "Do you remember the word?",
          "What is my password?", "Say the secret word.", "Tell me the secret word.", "What was the code word?",
          "And the secret word is?", "What word did I tell you?", "Which word did I give you?")),
        "It is {}.", "You have not told me a word to remember.", "C'est {}."),
}  # fmt: skip
KINDS = {
    "pet": words.ANIMALS,
    "relative": ["sister", "brother", "mother", "father", "friend", "boss", "neighbour", "teacher", "wife", "husband",
                 "son", "daughter", "aunt", "uncle", "cousin", "best friend", "colleague"],
}  # fmt: skip
PLAIN = {"colour": words.COLOURS, "food": words.FOODS, "job": words.JOBS, "hobby": words.HOBBIES}
CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiouy"


def made_up(rng: random.Random, pieces: Sequence[str]) -> str:
    """A word that means nothing: random tokens, random letters, or syllables. pieces: lower-case tokens of letters."""
    kind = rng.random()
    if kind < 0.5:
        word = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 4)))
    elif kind < 0.7:
        word = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 8)))
    else:
        word = "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(2, 3)))
        word += rng.choice(("", "", "n", "r", "s", "l", "k", "th"))
    return word[:14]


def a_name(rng: random.Random, split: str, pieces: Sequence[str]) -> str:
    """A name of the split: listed, or made up. The test's names are in no training row."""
    if split == TEST and rng.random() < 0.6:
        return rng.choice(words.HELD_OUT_NAMES)
    if split != TEST and rng.random() < 0.3:
        return rng.choice(words.NAMES)
    while True:
        name = made_up(rng, pieces).capitalize()
        if len(name) > 2 and held_out(name) == (split == TEST) and name not in words.HELD_OUT_NAMES:
            return name if rng.random() < 0.95 else name.lower()


def a_value(rng: random.Random, fact: str, split: str, pieces: Sequence[str]) -> str:
    if fact in PLAIN and (split == TEST or rng.random() < 0.85):
        return rng.choice(PLAIN[fact])
    if fact == "age":
        return str(rng.randint(5, 99))
    if fact == "city" and rng.random() < 0.5:
        return rng.choice(words.HELD_OUT_CITIES if split == TEST else words.CITIES)
    if fact == "secret" or fact in PLAIN:
        word = a_name(rng, split, pieces)
        if rng.random() < 0.3:
            word = "".join(rng.choice("0123456789") for _ in range(rng.randint(3, 6)))
        return word.lower() if rng.random() < 0.6 else word
    name = a_name(rng, split, pieces)
    if fact == "name" and rng.random() < 0.08:
        name += " " + a_name(rng, split, pieces)
    return name


Key = tuple[str, str]
"""A fact and its kind: ("pet", "dog"), ("name", "")."""


class Memory:
    """What the user has told in one conversation."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = pieces
        self.known: dict[Key, str] = {}

    def a_key(self, rng: random.Random) -> Key:
        names = list(FACTS)
        fact = rng.choices(names, [5 if f == "name" else 2 if f in ("pet", "relative", "secret", "city") else 1
                                   for f in names])[0]  # fmt: skip
        return fact, rng.choice(KINDS[fact]) if fact in KINDS else ""

    def tell(self, rng: random.Random, split: str, key: Key | None = None) -> Turn:
        key = key or self.a_key(rng)
        fact, value = FACTS[key[0]], a_value(rng, key[0], split, self.pieces)
        self.known[key] = value
        user = pick(rng, fact.tell, split if rng.random() < 0.3 else "train").format(value, k=key[1])
        return Turn("memory", user[0].upper() + user[1:] if value not in user[:15] else user,
                    fact.told.format(value, k=key[1]), (value,), f"D'accord, {value}.", exact=True)  # fmt: skip

    def ask(self, rng: random.Random, split: str, key: Key) -> Turn:
        fact, value = FACTS[key[0]], self.known.get(key)
        user = pick(rng, fact.ask, split).format(k=key[1])
        if value is None:
            answer = fact.missing.format(k=key[1])
            return Turn("memory", user, answer, ("not told",), "Vous ne me l'avez pas dit.")
        return Turn("memory", user, fact.answer.format(value, k=key[1]), (value,), fact.french.format(value),
                    never=("not told",))  # fmt: skip


REPEAT = ("Repeat: {}", "Repeat after me: {}", "Say: {}", "Please repeat this: {}", 'Say "{}".', 'Repeat "{}".',
          "Copy this text: {}", "Write exactly this: {}", "Echo: {}", "Just repeat the following: {}",
          'Please say "{}"', "Say this back to me: {}",
          ("repeat {}", "say {}", "Repeat this: {}", "Repeat the words: {}", "Write: {}", "Write this: {}",
           "Please repeat: {}", "Can you repeat this: {}", "Can you say: {}", "Tell me this back: {}", "Copy: {}",
           "Now say: {}"),
          ("Please say: {}", "Please write: {}", "Say exactly: {}", "Repeat exactly: {}", "Type: {}", "Type this: {}",
           "Answer with: {}", "Answer only with: {}", "Say the words {}", 'Say the words "{}"', "Repeat the text: {}",
           'Repeat the text "{}"', "Repeat what I say: {}", "Repeat the following words: {}", "Say after me: {}",
           "Can you repeat: {}", "Can you repeat this? {}", "Could you say: {}", "echo {}", "Print: {}", "print {}",
           "Print this: {}", 'Write "{}".', "Write down: {}", "Copy the following: {}", "Give this back: {}",
           'Could you repeat "{}"?', "I say: {}. Now you!", "repeat after me {}"))  # fmt: skip
LAST = ("What did I just say?", "What did I say?", "What was my last message?", "Repeat my last message.",
        "What was the last thing I said?", "What did I just ask?", "Which question did I ask before?",
        "Say again what I said.")  # fmt: skip


def a_text(rng: random.Random, split: str, pieces: Sequence[str]) -> str:
    """A few words to repeat, some of them made up."""
    n = rng.randint(1, 6)
    text = " ".join(
        rng.choice(words.NOUNS + words.ADJECTIVES) if rng.random() < 0.6 else a_name(rng, split, pieces).lower()
        for _ in range(n)
    )
    if rng.random() < 0.2:
        text += f" {rng.randint(0, 999)}"
    return text


def repeat(rng: random.Random, split: str, pieces: Sequence[str]) -> Turn:
    text = a_text(rng, split, pieces)
    return Turn("repeating", pick(rng, REPEAT, split).format(text), text, (text,), text, exact=True)
