"""What a person may choose for a chat: one table, for the command line, config.toml, personas and /set.

A parameter is called as its option is, without the dashes: `top-k`. Its value is a float, an int, a str, a bool, or
None where nothing is chosen. Standard library only.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from quant.errors import UsageError

Value = float | int | str | bool | None
Kind = Literal["number", "whole", "text", "form", "choice", "switch"]

INT32 = 2**31 - 1
TEXT, JSON = "text", "json"  # the formats that are no file
AUTO = "auto"
_SWITCH = {"on": True, "yes": True, "true": True, "1": True, "off": False, "no": False, "false": False, "0": False}
_MAX_SHOWN = 40  # characters of a wrong value in an error


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    kind: "number" is a float, "whole" an int, "switch" a bool, the others are a str, "form" that of answers: TEXT, JSON
        or the path of a JSON Schema.
    low and high: its limits; is_above: not `low` itself. choices: the values of a choice.
    word: what may be said in place of a number. unset: what holds where nothing is chosen, in words.
    in_chat: whether /set may change it.
    """

    name: str
    kind: Kind
    help: str
    low: float = 0
    high: float | None = None
    is_above: bool = False
    choices: tuple[str, ...] = ()
    word: str | None = None
    unset: str = "none"
    in_chat: bool = False

    @property
    def limits(self) -> str:
        """What a value may be, in words.

        >>> PARAMETERS["top-k"].limits, PARAMETERS["top-p"].limits, PARAMETERS["keys"].limits
        ('a whole number from 0 to 2147483647', 'a number above 0, up to 1', 'one of emacs, vi')
        """
        match self.kind:
            case "text":
                return "a text"
            case "form":
                return "text, json, or the file of a JSON Schema"
            case "switch":
                return "on or off"
            case "choice":
                return f"one of {', '.join(self.choices)}"
        noun = "a whole number" if self.kind == "whole" else "a number"
        noun = f"{self.word}, or {noun}" if self.word else noun
        if self.high is None:
            return f"{noun} from {self.low:.0f}"
        ends = f"above {self.low:g}, up to" if self.is_above else f"from {self.low:.0f} to"
        return f"{noun} {ends} {self.high:.12g}"

    def parse(self, text: str) -> Value:
        """The value that a typed text stands for. UsageError, with the limits, for one that stands for none.

        >>> PARAMETERS["temperature"].parse("0.2"), PARAMETERS["plain"].parse("ON")
        (0.2, True)
        """
        if self.word is not None and text.strip().lower() == self.word:
            return self.word
        try:
            match self.kind:
                case "number":
                    return self.check(float(text))
                case "whole":
                    return self.check(int(text))
                case "switch":
                    return _SWITCH[text.strip().lower()]
                case "choice":
                    return self.check(text.strip().lower())
                case "form":
                    is_word = text.strip().lower() in (TEXT, JSON)
                    return self.check(text.strip().lower() if is_word else os.path.expanduser(text.strip()))  # noqa: PTH111
                case "text":
                    return self.check(text)
        except (ValueError, KeyError):
            raise self._refused(text) from None

    def check(self, value: object) -> Value:
        """`value`, if it is one of this parameter: a whole number stands for a float, nothing else is converted.

        Raises UsageError with the limits.
        """
        if self.word is not None and value == self.word:
            return self.word
        match self.kind:
            case "number" | "whole":
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise self._refused(value)
                if self.kind == "whole" and not isinstance(value, int):
                    raise self._refused(value)
                if not self._is_within(value):
                    raise self._refused(value)
                return float(value) if self.kind == "number" else value
            case "switch":
                if isinstance(value, bool):
                    return value
            case "choice":
                if isinstance(value, str) and value in self.choices:
                    return value
            case "form":
                if isinstance(value, str) and value.strip() and "\0" not in value:
                    return value
            case "text":
                if isinstance(value, str):
                    return value
        raise self._refused(value)

    def shown(self, value: Value) -> str:
        """A value as it would be typed; in words where nothing is chosen.

        >>> PARAMETERS["temperature"].shown(0.70), PARAMETERS["seed"].shown(None), PARAMETERS["plain"].shown(True)
        ('0.7', 'a new one for each answer', 'on')
        """
        if value is None or value == "":
            return self.unset
        if isinstance(value, bool):
            return "on" if value else "off"
        return f"{value:.12g}" if isinstance(value, float) else str(value)

    def _is_within(self, value: float) -> bool:
        if isinstance(value, float) and not math.isfinite(value):
            return False
        is_high_enough = value > self.low if self.is_above else value >= self.low
        return is_high_enough and (self.high is None or value <= self.high)

    def _refused(self, value: object) -> UsageError:
        if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 2 * _MAX_SHOWN:
            text = "that number"  # Python refuses to write out some of these
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            text = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
            text = repr(text) if isinstance(value, str) else text
        return UsageError(f"{self.name} {text}: give {self.limits}")


_TEMPLATES = ("v1", "v2", "v3", "v3-tekken", "v7", "v7-tekken", "v11", "v13")

_TABLE = (
    Parameter("temperature", "number", "0 always takes the likeliest token.", 0, 99, in_chat=True),
    Parameter("top-k", "whole", "Draw from the K likeliest tokens; 0: from all.", 0, INT32, in_chat=True),
    Parameter("top-p", "number", "… that make up this much probability.", 0, 1, is_above=True, in_chat=True),
    Parameter("min-p", "number", "… at least this likely, next to the best.", 0, 1, in_chat=True),
    Parameter(
        "seed",
        "whole",
        "The same seed draws the same answer.",
        *(0, 2**32 - 1),
        unset="a new one for each answer",
        in_chat=True,
    ),
    Parameter("max-tokens", "whole", "Longest answer, in tokens.", 1, INT32, unset="no limit", in_chat=True),
    Parameter(
        "image-max-tokens",
        "whole",
        "Of a picture, which is made smaller for that.",
        *(1, INT32),
        unset="all that the model takes",
        in_chat=True,
    ),
    Parameter("system", "text", "The system prompt.", in_chat=True),
    Parameter("format", "form", "Of answers: text, json, or FILE of a JSON Schema.", unset=TEXT, in_chat=True),
    Parameter(
        "template",
        "choice",
        "Override the model's template.",
        choices=_TEMPLATES,
        unset="the model's",
        in_chat=True,
    ),
    Parameter(
        "ctx",
        "whole",
        "Context length, in tokens; auto: what fits.",
        *(16, INT32),
        word=AUTO,
        unset="auto",
        in_chat=True,
    ),
    Parameter("device", "choice", "Where to compute.", choices=("auto", "cpu", "gpu"), unset="auto", in_chat=True),
    Parameter(
        "gpu-layers", "whole", "Layers on the GPU; auto: what fits.", 0, INT32, word=AUTO, unset="auto", in_chat=True
    ),
    Parameter(
        "cache-type",
        "choice",
        "Of the KV cache: q8_0 takes half the memory.",
        choices=("f16", "q8_0", "q4_0"),
        unset="f16",
        in_chat=True,
    ),
    Parameter(
        "flash-attention",
        "choice",
        "Attention without a table of scores.",
        choices=("auto", "on", "off"),
        unset="auto",
        in_chat=True,
    ),
    Parameter("threads", "whole", "Threads on the CPU.", 1, 512, unset="one for each core", in_chat=True),
    Parameter("draft", "text", "Smaller MODEL of the same vocabulary that guesses ahead.", in_chat=True),
    Parameter("speculation", "switch", "Guess tokens ahead where that is quicker.", unset="on", in_chat=True),
    Parameter("keys", "choice", "Keys of the prompt.", choices=("emacs", "vi"), unset="emacs", in_chat=True),
    Parameter(
        "typeahead",
        "choice",
        "Read what is typed before it is sent; mains: not on battery.",
        choices=("on", "off", "mains"),
        unset="on",
        in_chat=True,
    ),
    Parameter("plain", "switch", "For screen readers: nothing moves, roles are named.", unset="off"),
    Parameter("private", "switch", "Write nothing to the disk: no session, no history.", unset="off"),
    Parameter("warm-gb", "whole", "Disk for what was read of sessions, in GB; 0: none.", 0, 1 << 20, unset="8"),
)

PARAMETERS: dict[str, Parameter] = {parameter.name: parameter for parameter in _TABLE}


def parameter(name: str) -> Parameter:
    """The parameter of that name, as it is typed: `top_k`, `--top-k` and `TOP-K` are `top-k`.

    Raises UsageError, with the nearest name, for what is none.
    """
    found = PARAMETERS.get(name.strip().lower().lstrip("-").replace("_", "-"))
    if found is None:
        raise UsageError(f"no parameter {name[:_MAX_SHOWN]!r}: {nearest(name, PARAMETERS)}")
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at what may have been meant: the nearest of `known`, or all of them.

    >>> nearest("temprature", PARAMETERS), nearest("xyzzy", ["a", "b"]), nearest("xyzzy", [])
    ("did you mean 'temperature'?", 'there are a, b', 'there are none')
    """
    from difflib import get_close_matches

    names = list(known)
    near = get_close_matches(name.lower(), names, 1, 0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(names[:20]) or 'none'}" + (" …" if len(names) > 20 else "")
