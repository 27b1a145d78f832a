"""What a docstring says of a function and of its parameters, in the styles that Python's people write.

Google ("Args:" and indented lines), NumPy ("Parameters" underlined, "name : type"), Sphinx (":param name:").
What is in none of these is left out. Pure; standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_GOOGLE = re.compile(r"(?:Args|Arguments|Parameters):\s*")
_GOOGLE_ITEM = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)")
_NUMPY_ITEM = re.compile(r"\*{0,2}(\w+)\s*(?::.*)?")
_SPHINX_ITEM = re.compile(r":(?:param|parameter|arg|argument)\s+(?:[^:]*\s)?\*{0,2}(\w+):\s*(.*)")


@dataclass(frozen=True)
class Docstring:
    """description: the first paragraph, on one line. parameters: by name, each on one line."""

    description: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def read(text: str) -> Docstring:
    r"""Reads a docstring, as `inspect.getdoc` gives it (without its indentation).

    >>> read("The weather.\n\nArgs:\n    city: Where,\n        in English.\n    day (str): When.\n")
    Docstring(description='The weather.', parameters={'city': 'Where, in English.', 'day': 'When.'})
    >>> read("Adds.\n\nParameters\n----------\na : int\n    The first.\n")
    Docstring(description='Adds.', parameters={'a': 'The first.'})
    >>> read("Adds.\n\n:param int a: The first.\n:returns: A sum.\n")
    Docstring(description='Adds.', parameters={'a': 'The first.'})
    """
    lines = [line.rstrip() for line in text.strip("\n").split("\n")]
    parameters: dict[str, str] = {}
    for number, line in enumerate(lines):
        if _GOOGLE.fullmatch(line):
            parameters |= _google(lines[number + 1 :])
        elif line in ("Parameters", "Other Parameters") and re.fullmatch("-{3,}", "".join(lines[number + 1 :][:1])):
            parameters |= _numpy(lines[number + 2 :])
        elif item := _SPHINX_ITEM.fullmatch(line):
            parameters[item[1]] = _joined([item[2], *_indented(lines[number + 1 :])])
    return Docstring(_first_paragraph(lines), parameters)


def _first_paragraph(lines: list[str]) -> str:
    paragraph: list[str] = []
    for number, line in enumerate(lines):
        section = _GOOGLE.fullmatch(line) or re.match(r":\w+[^:]*:", line) or re.fullmatch("-{3,}", line)
        if section or (not line and paragraph):
            if line.startswith("---"):
                paragraph = paragraph[:-1] if number else []  # the heading above
            break
        paragraph.append(line)
    return _joined(paragraph)


def _google(lines: list[str]) -> dict[str, str]:
    """The items of an indented section: those at the indentation of the first one."""
    found: dict[str, list[str]] = {}
    depth = None
    name = None
    for line in _indented(lines):
        indent = len(line) - len(line.lstrip())
        depth = indent if depth is None and line else depth
        item = _GOOGLE_ITEM.fullmatch(line.lstrip())
        if item and indent == depth:
            name = item[1]
            found[name] = [item[2]]
        elif name is not None:
            found[name].append(line)
    return {key: _joined(value) for key, value in found.items()}


def _numpy(lines: list[str]) -> dict[str, str]:
    """The items of an underlined section, each a line at the margin with an indented text below it."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines):
        if re.fullmatch("-{3,}", "".join(lines[number + 1 :][:1])):
            break  # the next section
        names = line.split(":")[0].split(",")
        for name in names if line[:1].strip() else ():
            if item := _NUMPY_ITEM.fullmatch(name.strip()):
                found[item[1]] = _joined(_indented(lines[number + 1 :]))
    return found


def _indented(lines: list[str]) -> list[str]:
    """The lines up to the first that is not indented; empty ones do not end them."""
    end = next((number for number, line in enumerate(lines) if line[:1].strip()), len(lines))
    return lines[:end]


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
