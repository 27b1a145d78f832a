"""How typed and pasted text looks while it is edited: what the terminal would obey, tabs, and lines without end."""

from __future__ import annotations

import re

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout.processors import Processor, TabsProcessor, Transformation, TransformationInput

_OBEYED = re.compile("[\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST_LINE = 3000  # characters of a line that are drawn: every key draws them all again
_STEP = 1000


class Disarmed(Processor):
    """A sign of one cell for what the terminal would obey and prompt_toolkit lets through: bidirectional overrides,
    halves of characters. What it shows itself, as ^[, is left to it.
    """

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        fragments = transformation_input.fragments
        if not any(_OBEYED.search(fragment[1]) for fragment in fragments):
            return Transformation(fragments)
        sign = "\N{REPLACEMENT CHARACTER}"
        return Transformation([(fragment[0], _OBEYED.sub(sign, fragment[1])) for fragment in fragments])


class Tabs(TabsProcessor):
    """Tabs as blanks up to the next stop; lines without any cost nothing."""

    def __init__(self) -> None:
        super().__init__(tabstop=4, char1=" ", char2=" ")

    def apply_transformation(self, ti: TransformationInput) -> Transformation:
        if any("\t" in fragment[1] for fragment in ti.fragments):
            return super().apply_transformation(ti)
        return Transformation(ti.fragments)


class LongLines(Processor):
    """Of a line of more than 3,000 characters, the part around the cursor, or the beginning."""

    def apply_transformation(self, ti: TransformationInput) -> Transformation:
        length = sum(len(fragment[1]) for fragment in ti.fragments)
        if length <= LONGEST_LINE:
            return Transformation(ti.fragments)
        is_current = ti.lineno == ti.document.cursor_position_row
        column = ti.source_to_display(ti.document.cursor_position_col) if is_current else 0
        begin = max(0, column // _STEP - 1) * _STEP
        end = min(begin + LONGEST_LINE, length)
        before, after = "…" * (begin > 0), f"… ({length - end:,} more characters)" if end < length else ""
        shown: StyleAndTextTuples = [("class:elided", before), *_cut(ti.fragments, begin, end), ("class:elided", after)]
        return Transformation(
            shown,
            source_to_display=lambda place: min(max(place, begin), end) - begin + len(before),
            display_to_source=lambda place: min(begin + max(place - len(before), 0), end),
        )


def _cut(fragments: StyleAndTextTuples, begin: int, end: int) -> StyleAndTextTuples:
    """The fragments between two characters."""
    parts: StyleAndTextTuples = []
    place = 0
    for style, text, *_ in fragments:
        part = text[max(begin - place, 0) : max(end - place, 0)]
        if part:
            parts.append((style, part))
        place += len(text)
    return parts
