"""Options of pictures: `--images *.jpg --json` takes several words behind it, as a shell writes a list of files there;
`--image` takes one, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from quant.errors import UsageError

IMAGE, IMAGES = "--image", "--images"
# click's UsageError, wherever typer keeps its click: some versions use the package, others a copy of their own.
WrongUsage: Any = typer.BadParameter.__mro__[1]


def spread(words: Sequence[str], option: str) -> list[str]:
    """The words with `option` before each of those that stand behind it, up to the next option.

    >>> spread(["demo", "What?", "--images", "a.jpg", "b.jpg", "--json"], "--images")
    ['demo', 'What?', '--images', 'a.jpg', '--images', 'b.jpg', '--json']
    """
    spread_out: list[str] = []
    place = 0  # how many of its values have come; 0 outside of it
    for at, word in enumerate(words):
        if word == "--":
            return [*spread_out, *words[at:]]
        if word.startswith("-") and word != "-":
            place = int(word == option)
        elif place:
            spread_out += [option] if place > 1 else []
            place += 1
        spread_out.append(word)
    return spread_out


class TakesImages(TyperCommand):
    """A command whose --images takes all the words up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args, IMAGES))


class TellsOfImage(TyperCommand):
    """A command with too many words behind --image tells how several pictures are given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        several = any(word.partition("=")[0] == IMAGE for word in args)  # click takes the words out of the list
        try:
            return super().parse_args(ctx, args)
        except WrongUsage as error:
            if several and "unexpected extra argument" in error.format_message():
                raise UsageError(
                    f"{error.format_message().rstrip('.')}: each picture has an {IMAGE} of its own, as in "
                    f'{IMAGE} a.jpg {IMAGE} b.jpg "What differs?"'
                ) from None
            raise
