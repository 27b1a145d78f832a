"""The rest of a line that was typed before, in grey behind the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit.auto_suggest import AutoSuggest, Suggestion

if TYPE_CHECKING:
    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.document import Document

_LONGEST = 1000  # characters: who has typed more than that is not repeating himself


class HistorySuggestion(AutoSuggest):
    """From the newest entry that begins with all that was typed, the rest of its line."""

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        text = document.text
        if not text.strip() or len(text) > _LONGEST:
            return None
        for entry in reversed(buffer.history.get_strings()):
            if entry.startswith(text) and (rest := entry[len(text) : len(text) + _LONGEST].split("\n", 1)[0]):
                return Suggestion(rest)
        return None
