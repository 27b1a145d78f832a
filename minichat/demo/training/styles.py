"""System prompts: what they say, and what they make of an answer."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .memory import a_name
from .split import TEST, Phrasings, parts, pick, plain
from .turns import CALLS, Turn

CAT = "=^.^="


@dataclass(frozen=True)
class Check:
    """What a right answer looks like."""

    contains: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    starts: str = ""
    ends: str = ""
    exact: str = ""
    upper: bool = False
    lower: bool = False
    json: str = ""
    """The same JSON, keys in this order."""
    calls: str = ""
    """Calls of these tools with these arguments, as JSON; ids may be others."""

    def passes(self, answer: str) -> bool:
        """Whether the answer is right and in the style asked for.

        >>> Check(contains=("paris",), upper=True).passes("THE CAPITAL IS PARIS.")
        True
        >>> Check(contains=("paris",), upper=True).passes("The capital is Paris.")
        False
        """
        answer = answer.strip()
        if self.calls:
            return answer.startswith(CALLS) and same_calls(answer.removeprefix(CALLS), self.calls)
        if self.json:
            return dumped(answer) == dumped(self.json)
        text = answer.casefold()
        return (
            answer != ""
            and not answer.startswith(CALLS)
            and all(c.casefold() in text for c in self.contains)
            and not any(n.casefold() in text for n in self.never)
            and answer.startswith(self.starts)
            and answer.endswith(self.ends)
            and (not self.exact or text == self.exact.casefold())
            and (not self.upper or answer == answer.upper())
            and (not self.lower or answer == answer.lower())
        )


def dumped(text: str) -> str | None:
    """The JSON in `text`, written in one way; None if it is none.

    >>> dumped('{"a":1}'), dumped("{")
    ('{"a": 1}', None)
    """
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except ValueError:
        return None


def same_calls(answer: str, expected: str) -> bool:
    """Whether the same tools are called with the same arguments, under ids of nine letters and digits.

    >>> gold = '[{"name": "f", "arguments": {"a": 1}, "id": "123456789"}]'
    >>> same_calls(gold.replace("123", "abc"), gold), same_calls(gold.replace("123", ""), gold)
    (True, False)
    """
    try:
        said, wanted = json.loads(answer), json.loads(expected)
        ids = [call.pop("id") for call in said]
        for call in wanted:
            del call["id"]
        return said == wanted and all(re.fullmatch("[a-zA-Z0-9]{9}", i) for i in ids)
    except (ValueError, TypeError, KeyError, AttributeError):
        return False


@dataclass(frozen=True)
class Style:
    kind: str
    system: str = ""
    before: str = ""
    after: str = ""

    def apply(self, turn: Turn) -> tuple[str, Check]:
        """The answer in this style, and its check."""
        if turn.skill == "JSON":
            return turn.answer, Check(json=turn.answer)
        plain = Check(turn.must, turn.never)
        if self.kind == "upper":
            return turn.answer.upper(), replace(plain, upper=True)
        if self.kind == "lower":
            return turn.answer.lower(), replace(plain, lower=True)
        if self.kind == "french" and turn.french:
            return turn.french, Check(exact=turn.french)
        answer = turn.answer
        if self.before:
            answer = f"{self.before} {answer}"
        if self.after:
            answer = f"{answer} {self.after}"
        return answer, replace(plain, starts=self.before, ends=self.after)


NEUTRAL = (
    "You are a helpful assistant.", "You are a friendly assistant.", "Be helpful.", "You are an assistant.",
    "Answer the user's questions.", "You are a polite chat program.", "Help the user.", "You are a chatbot.",
    "You are an AI assistant that helps people.", "Be kind and correct.", "Answer truthfully.", "Be friendly.",
    "You are a helpful, honest assistant.", "Please answer as well as you can.",
    ("You are helpful.", "Answer questions.", "You are a nice assistant.", "Be a good assistant.",
     "You answer questions about minichat.", "You are a careful assistant.", "Be honest."))  # fmt: skip
UPPER = (
    "Answer in upper case.", "Answer in capital letters.", "Write everything in upper case.",
    "Use only capital letters.",
    "Always answer in upper case.", "ANSWER IN UPPER CASE.", "Reply in all caps.", "Use upper case only.",
    "Please write in capitals.", "All your answers must be in upper case.", "Shout: use capital letters.",
    "Respond in uppercase.", "Write all answers in capital letters.", "You always write in upper case.",
    "You only speak in capital letters.", "Every letter of your answers is a capital letter.",
    "Reply in uppercase only.",
    "You are an assistant who answers in upper case.", "Type in ALL CAPS.", "Your replies are all in capitals.",
    "Never use lower case letters.", "Give your answers in block capitals.",
    ("Please answer in upper case.", "Use capital letters.", "Use capital letters for everything.",
     "Write in all caps.", "Only answer in upper case.", "Put all your answers in upper case.",
     "Respond only in capital letters.", "Speak in capitals.", "Upper case only, please.",
     "I want upper case answers.", "Capital letters only!", "Answer everything in capitals.",
     "Everything you write must be in capital letters.", "You must answer in capital letters.", "All caps, always.",
     "Write each answer in upper case letters.", "You are a helpful assistant that writes in all caps.",
     "SPEAK LOUDLY: ALL CAPITALS."))  # fmt: skip
LOWER = (
    "Answer in lower case.", "Use only lower case letters.", "Write everything in lower case.",
    "Never use capital letters.",
    "Always answer in lower case.", "Reply in lowercase.", "No capital letters, please.", "Use lowercase only.",
    "Respond in lower case only.", "Write without capitals.", "You only write small letters.",
    "All your answers are in lower case.", "answer in lower case", "Avoid all capital letters.",
    ("Please answer in lower case.", "Use lower case letters.", "Write in lowercase.",
     "Only small letters, please.", "Everything in lower case.", "Use small letters only.",
     "Put all your answers in lower case.", "I want lower case answers.", "Respond in lowercase letters.",
     "You must answer in lower case.", "Do not use capitals.", "lower case only!",
     "All lowercase, always."))  # fmt: skip
WITH_CAT = (
    "End every answer with a cat.", "Always end your answer with an ASCII drawing of a cat.", "Put a cat at the end.",
    "Finish each answer with a cat.", "End each reply with an ASCII cat.", "Close every answer with a cat.",
    "Every answer ends with a cat.", "Add a cat after your answer.", "Always add an ASCII cat at the end.",
    "Draw a cat at the end of every answer.", "Your answers must end with a cat.", "Append a cat to each answer.",
    "I like cats: put one at the end of your answers.", "Finish with a small cat.", "Always finish with an ASCII cat.",
    "You are a helpful assistant. End every answer with a cat.", "Let a cat end each of your answers.",
    "After each answer, draw a cat.", "End all your messages with a cat.", "There must be a cat after every answer.",
    "Sign your answers with a cat.",
    ("Always end with a cat.", "End your answers with a cat.", "End your answer with an ASCII cat.",
     "Please end every answer with a cat.", "Finish every answer with a cat.", "Add a cat to every answer.",
     "Put an ASCII cat after each answer.", "Close with a drawing of a cat.",
     "At the end of every answer, draw a cat.", "You love cats and end every answer with one.",
     "Always put a cat at the end of your answer.", "A cat must follow every answer.",
     "End each message with a drawing of a cat.", "Your replies always end with a cat.",
     "Every reply must end in a cat.", "Conclude each answer with a cat.",
     "Draw an ASCII cat after every reply."))  # fmt: skip
FRENCH = (
    "Answer in French.", "Always answer in French.", "Reply in French.", "Speak French.", "Use French only.",
    "Write your answers in French.", "You speak only French.", "Respond in French, please.", "Réponds en français.",
    "All answers must be in French.", "You are a French assistant and answer in French.", "Please use French.",
    "Répondez toujours en français.", "Your language is French.",
    ("Answer only in French.", "Please answer in French.", "Speak only French.", "Write in French.",
     "Reply only in French.", "Always use French.", "You always answer in French.", "I want answers in French.",
     "Talk French to me.", "French only!", "Give all answers in French.", "Parle français.",
     "Vous répondez en français.", "The user is French: answer in French."))  # fmt: skip
BEGIN = (
    'Start every answer with "{}".', "Start every answer with {}", 'Begin each answer with "{}".',
    "Begin every answer with {}", 'Always start with "{}".', 'Every answer starts with "{}".',
    'Your answers must begin with "{}".', 'Open each reply with "{}".', 'Say "{}" before each answer.',
    'The first words of every answer are "{}".', 'Put "{}" in front of each answer.', 'Start your replies with "{}".',
    'You begin everything you say with "{}".',
    ('Please start every answer with "{}".', 'Start each answer with "{}".', 'Begin every answer with "{}".',
     'Begin all answers with "{}".', 'Every reply begins with "{}".', 'First say "{}", then answer.',
     'Each answer must start with "{}".', 'Your replies always start with "{}".', 'Write "{}" before every answer.',
     'Put "{}" before your answers.'))  # fmt: skip
END = (
    'End every answer with "{}".', "End every answer with {}", 'Finish each answer with "{}".',
    "Finish every answer with {}", 'Always end with "{}".', 'Every answer ends with "{}".',
    'Your answers must end with "{}".', 'Close each reply with "{}".', 'Say "{}" after each answer.',
    'The last words of every answer are "{}".', 'Put "{}" at the end of each answer.', 'End your replies with "{}".',
    'You end everything you say with "{}".',
    ('Please end every answer with "{}".', 'End each answer with "{}".', 'Finish every answer with "{}".',
     'Finish all answers with "{}".', 'Every reply ends with "{}".', 'Answer, then say "{}".',
     'Each answer must end with "{}".', 'Your replies always end with "{}".', 'Write "{}" after every answer.',
     'Put "{}" after your answers.'))  # fmt: skip
OPENERS = ("Ahoy!", "Well,", "Listen:", "Dear friend,", "Arrr!", "Beep!", "Yes, captain!", "Hm.", "Sir,", "Answer:",
           "Ho ho ho!", "My dear,", "Meow!", "Attention!", "Hooray!", "OK!", "A:", "***", "Boss,",
           "Hello!")  # fmt: skip
CLOSERS = ("over and out", "my friend", "Amen.", ":)", "Ahoy!", "*purr*", "Good luck!", "Cheers!", "THE END", "-- demo",
           "Have a nice day!", "Beep!", "sir", "!!!", "captain", "Over.", "Peace.", "<3", "That is all.")  # fmt: skip


def affix(rng: random.Random, split: str, listed: tuple[str, ...], pieces: Sequence[str]) -> str:
    if split != TEST and rng.random() < 0.5:
        return rng.choice(listed)
    word = a_name(rng, split, pieces)
    return (
        word + rng.choice(("", "!", ".", ":", "!!")) if rng.random() < 0.7 else f"{word} {a_name(rng, split, pieces)}!"
    )


OFTEN = ("", "", "", "Please ", "Always ", "You must ", "You should ", "From now on ", "In this chat, ", "Do this: ",
         "You ",
         "The user wants you to ", "It is important to ", "Remember to ", "Be sure to ", "You always ",
         "I want you to ",
         "Your task is to ", "Never forget to ", "Your job: ", "Rule: ", "Make sure to ", "You have to ")  # fmt: skip
CLOSE = (
    ".",
    ".",
    ".",
    "!",
    "",
    ", please.",
    " always.",
    ", always.",
    " at all times.",
    " every time.",
    " in this chat.",
)
ANSWERS = ("answer", "reply", "respond", "write", "speak", "talk", "say everything", "write everything", "type",
           "give your answers", "write your answers", "put your answers", "answer everything", "write all answers",
           "give each answer", "answer the user", "write each reply", "answer all questions", "answer me")  # fmt: skip
EACH = ("every answer", "each answer", "your answer", "your answers", "all answers", "all your answers", "every reply",
        "each reply", "your replies", "every message", "each message", "your messages", "everything you say",
        "everything you write", "each of your answers", "each response", "every response", "your response",
        "all you say",
        "any answer", "all replies", "what you say")  # fmt: skip
SLOTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "upper": (OFTEN, ANSWERS, (" in ", " in ", " only in ", " using ", " with ", " all in "),
              ("upper case", "capital letters", "capitals", "all caps", "uppercase", "upper case letters",
              "big letters",
               "block letters", "only capital letters", "only capitals", "uppercase letters", "capital letters only",
               "upper case only", "CAPITALS", "UPPER CASE", "ALL CAPS"), CLOSE),
    "lower": (OFTEN, ANSWERS, (" in ", " in ", " only in ", " using ", " with ", " all in "),
              ("lower case", "small letters", "lowercase", "lower case letters", "only small letters",
              "lower case only",
               "lowercase letters", "no capital letters", "no capitals", "little letters", "small letters only"),
               CLOSE),
    "french": (OFTEN, ANSWERS, (" in ", " in ", " only in ", " always in "), ("French", "French", "the French language",
               "French only", "good French", "simple French", "french"), CLOSE),
    "cat": (OFTEN, ("end ", "finish ", "close ", "conclude ", "complete "), EACH,
            (" with a cat", " with an ASCII cat", " with a drawing of a cat", " with an ASCII drawing of a cat",
             " with a small cat", " with a little cat", " with a cat drawing", " with the picture of a cat",
             " with a cat made of letters", " by drawing a cat", " with one cat", " with your cat"), CLOSE),
    "begin": (OFTEN, ("start ", "begin ", "open ", "introduce "), EACH,
              (' with "{}"', ' with "{}"', " with {}", ' with the words "{}"', ' with the text "{}"', ' by saying "{}"',
               " by saying {}", ' with the word "{}"', ": {}", ' like this: "{}"', " with '{}'"), CLOSE),
    "end": (OFTEN, ("end ", "finish ", "close ", "conclude ", "complete "), EACH,
            (' with "{}"', ' with "{}"', " with {}", ' with the words "{}"', ' with the text "{}"', ' by saying "{}"',
             " by saying {}", ' with the word "{}"', ": {}", ' like this: "{}"', " with '{}'"), CLOSE),
}  # fmt: skip


def a_prompt(rng: random.Random, split: str, kind: str, listed: Phrasings) -> str:
    """A system prompt of a kind, from its list or, half of the time in training, put together; never a held-out one."""
    if split == TEST or kind not in SLOTS or rng.random() < 0.4:
        return pick(rng, listed, split)
    held = {plain(o) for o in parts(listed)[1]}
    while True:
        text = "".join(rng.choice(slot) for slot in SLOTS[kind])
        if plain(text) not in held:
            return text[0].upper() + text[1:]


KINDS = {"neutral": 3, "upper": 9, "lower": 3, "cat": 4, "french": 4, "begin": 5, "end": 5}


def a_style(rng: random.Random, split: str, pieces: Sequence[str], kind: str = "") -> Style:
    kind = kind or rng.choices(list(KINDS), list(KINDS.values()))[0]
    if kind == "begin":
        text = affix(rng, split, OPENERS, pieces)
        return Style(kind, a_prompt(rng, split, kind, BEGIN).format(text), before=text)
    if kind == "end":
        text = affix(rng, split, CLOSERS, pieces)
        return Style(kind, a_prompt(rng, split, kind, END).format(text), after=text)
    prompts = {"neutral": NEUTRAL, "upper": UPPER, "lower": LOWER, "cat": WITH_CAT, "french": FRENCH}
    system = a_prompt(rng, split, kind, prompts[kind])
    if kind != "neutral" and rng.random() < 0.2:
        system = f"{pick(rng, NEUTRAL, split)} {system}"
    return Style(kind, system, after=CAT if kind == "cat" else "")
