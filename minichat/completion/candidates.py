"""What could stand at the cursor of a half-typed command line: commands, options, and their values.

Commands and options are those of the program itself, so that there is no list to keep. What a value may be is told by
its option or by the word that stands for it in --help. File names are left to the shell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minichat.commands.variadic import IMAGES
from minichat.completion.names import (
    here,
    known_models,
    personas,
    quantizations,
    sessions,
    stored,
    templates,
)
from minichat.parameters import JSON, TEXT
from quant.errors import MinichatError

# Nothing that a shell gives a meaning to: names in the store and personas may have been written by anybody.
_SAFE = re.compile(r"[\w-][\w.:/@%+,=-]*")
_HELP = ("-h", "--help")
Find = Callable[[str], Iterable[str]]


@dataclass(frozen=True)
class Candidate:
    """A word that could stand at the cursor, and in a few words what it is."""

    value: str
    help: str = ""


@dataclass(frozen=True)
class Candidates:
    """All that could stand there. are_files: so could the names of files, which the shell knows."""

    words: tuple[Candidate, ...] = ()
    are_files: bool = False


@dataclass(frozen=True)
class _Values:
    """What an option or argument takes. find: its values, of those that begin with what is typed."""

    find: Find
    are_files: bool = False


_FILES = _Values(lambda _: (), are_files=True)
_OPTIONS: dict[str, _Values] = {
    "--quant": _Values(quantizations),
    "--template": _Values(templates),
    "--session": _Values(sessions),
    "--as": _Values(personas),
    "--draft": _Values(here, are_files=True),
    "--output": _FILES,
    "--format": _Values(lambda _: (TEXT, JSON), are_files=True),
}
# By the command and the metavar of the argument; the command "" is any other.
_ARGUMENTS: dict[tuple[str, str], _Values] = {
    ("", "MODEL"): _Values(known_models, are_files=True),
    ("show", "MODEL"): _Values(here, are_files=True),
    ("render", "MODEL"): _Values(here, are_files=True),
    ("verify", "MODEL"): _Values(stored, are_files=True),
    ("import", "MODEL"): _FILES,
    ("", "SOURCE"): _FILES,
    ("", "NAME:TAG"): _Values(stored),
    ("sessions show", "NAME"): _Values(sessions),
    ("sessions rm", "NAME"): _Values(sessions),
    ("config", "MODEL"): _Values(known_models),
}


def find_candidates(program: Any, words: Sequence[str]) -> Candidates:
    """What could stand in place of the last of `words`, of which it is the beginning.

    program: typer's command of the whole program. words: those behind the program's name. Nothing is raised for what
    cannot be completed.
    """
    found = _find(program, words)
    typed = words[-1] if words else ""
    fitting = [one for one in found.words if one.value.startswith(typed) and _SAFE.fullmatch(one.value)]
    return Candidates(tuple(dict.fromkeys(fitting)), found.are_files)


def _find(program: Any, words: Sequence[str]) -> Candidates:
    *before, typed = words or [""]
    at = _read(program, before)
    if at.open_option is not None and not at.ends_list(typed):
        return _values(at, at.open_option, typed)
    if typed.startswith("-") and not at.are_arguments:
        name, equals, value = typed.partition("=")
        if equals and (option := _option(at.command, name)) is not None:
            found = _values(at, option, value)
            return Candidates(tuple(Candidate(f"{name}={one.value}", one.help) for one in found.words), found.are_files)
        return Candidates(tuple(_options(at)))
    if (commands := _commands(at.command)) and at.arguments:
        return Candidates()  # behind a command that does not exist
    if commands:
        return Candidates(tuple(Candidate(name, _first_line(one)) for name, one in commands.items()))
    argument = next(iter(_rest(at)), None)
    return _values(at, argument, typed) if argument is not None else Candidates(tuple(_options(at)))


@dataclass
class _Place:
    """Where a line has come to: in which command, and what of it is said already."""

    command: Any
    path: str = ""
    arguments: int = 0
    are_arguments: bool = False  # behind a `--`
    open_option: Any = None
    given: frozenset[str] = frozenset()

    def ends_list(self, word: str) -> bool:
        """Whether the option that is open takes a list, and a word does not belong to that any more."""
        return _is_list(self.open_option) and word.startswith("-") and word != "-"


def _read(program: Any, words: Sequence[str]) -> _Place:
    at = _Place(program)
    for word in words:
        if at.open_option is not None and not at.ends_list(word):
            at.open_option = at.open_option if _is_list(at.open_option) else None
        elif at.are_arguments or word == "-" or not word.startswith("-"):
            inner = None if at.arguments or at.are_arguments else _commands(at.command).get(word)
            if inner is not None:
                at = _Place(inner, f"{at.path} {word}".strip())
            else:
                at.arguments += 1
        elif word == "--":
            at.are_arguments = True
        elif (option := _option(at.command, word.partition("=")[0])) is not None:
            at.given |= {*option.opts, *option.secondary_opts}
            at.open_option = option if "=" not in word and not _is_flag(option) else None
    return at


def _commands(command: Any) -> Mapping[str, Any]:
    return {name: one for name, one in getattr(command, "commands", {}).items() if not one.hidden}


def _option(command: Any, name: str) -> Any:
    return next((p for p in command.params if name in (*p.opts, *p.secondary_opts) and name.startswith("-")), None)


def _is_flag(option: Any) -> bool:
    return bool(getattr(option, "is_flag", False) or getattr(option, "count", False))


def _is_list(option: Any) -> bool:
    return option is not None and IMAGES in option.opts


def _options(at: _Place) -> Iterator[Candidate]:
    """The options that are not given yet, by their long names."""
    for option in at.command.params:
        if option.param_type_name == "option" and not option.hidden and not at.given & {*option.opts}:
            for name in (*option.opts, *option.secondary_opts):
                if name.startswith("--"):
                    yield Candidate(name, option.help or "")
    yield Candidate(_HELP[1], "Show help.")


def _rest(at: _Place) -> list[Any]:
    """The arguments that are still to come."""
    arguments = [param for param in at.command.params if param.param_type_name == "argument"]
    if arguments and arguments[-1].nargs == -1 and at.arguments >= len(arguments):
        return arguments[-1:]
    return arguments[at.arguments :]


def _values(at: _Place, param: Any, typed: str) -> Candidates:
    kind = _kind(at, param)
    try:
        words = tuple(Candidate(value) for value in kind.find(typed) if value.startswith(typed))
    except (MinichatError, OSError):  # what is wrong is said when the command runs
        words = ()
    is_path = "/" in typed or typed.startswith((".", "~"))
    return Candidates(words, kind.are_files and (is_path or not words))


def _kind(at: _Place, param: Any) -> _Values:
    metavar = re.sub(r"[\[\]]|\.\.\.", "", param.metavar or "")
    if param.param_type_name == "argument":
        found = _ARGUMENTS.get((at.path, metavar)) or _ARGUMENTS.get(("", metavar))
    else:
        found = next((_OPTIONS[name] for name in param.opts if name in _OPTIONS), None)
    if found is not None:
        return found
    parts = metavar.split("|")
    if "FILE" in parts:  # of which there are more than of the words that may stand in its place
        return _FILES
    choices = [part for part in parts if part.isalpha() and part.islower()]
    return _Values(lambda _: choices)


def _first_line(command: Any) -> str:
    return str(command.get_short_help_str(100))
