"""What a model says, token by token: characters whole, control tokens apart, each text with its kind.

The tokens tell, never the text: behind the control token [TOOL_CALLS] stands a call, between [THINK] and [/THINK] a
thought; other families write <think> and </think>, and some open a thought in the prompt. The cost of a token does not
grow with the answer.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from minichat.engine.types import Chunk, Kind
from minichat.tokenizer import Tokenizer

_KIND_BEHIND: dict[str, Kind] = {
    "[TOOL_CALLS]": "call",
    "[THINK]": "think",
    "[/THINK]": "text",
    "<think>": "think",
    "</think>": "text",
}


class Speech:
    """One answer to `prompt` as it grows. Control tokens are in no chunk; in `spans` they stand by their names.

    A half character waits for its other half. Cut off by a control token, it becomes U+FFFD.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._names = tokenizer.control_names
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._spans: list[tuple[str, bool]] = []
        self._run: list[str] = []  # the texts since the last control token
        self._pending: list[Chunk] = []  # what has not been taken yet; neighbours differ in kind
        self._said: list[str] = []  # all of the kind "text"
        last = next((self._names[token] for token in reversed(prompt) if token in self._names), "")
        self._kind: Kind = "think" if _KIND_BEHIND.get(last) == "think" else "text"
        self._begins = True  # whether nothing or a control token stands right before

    @property
    def is_pending(self) -> bool:
        return bool(self._pending)

    @property
    def text(self) -> str:
        """All that is of the kind "text"."""
        return "".join(self._said)

    @property
    def spans(self) -> tuple[tuple[str, bool], ...]:
        """Everything in order, as (text, is it the name of a control token)."""
        return (*self._spans, *self._run_span())

    def add(self, token: int) -> None:
        """The next token of the answer."""
        name = self._names.get(token)
        if name is None:
            self._say(self._characters.decode(self._tokenizer.answer_bytes(token, self._begins)))
            self._begins = False
        else:
            self.finish()
            self._spans += [*self._run_span(), (name, True)]
            self._run.clear()
            self._kind = _KIND_BEHIND.get(name, self._kind)
            self._begins = True

    def finish(self) -> None:
        """No other half of a character will come."""
        self._say(self._characters.decode(b"", final=True))

    def take(self) -> list[Chunk]:
        """What has been said since the last time."""
        taken, self._pending = self._pending, []
        return taken

    def _run_span(self) -> list[tuple[str, bool]]:
        return [("".join(self._run), False)] if self._run else []

    def _say(self, text: str) -> None:
        if not text:
            return
        self._run.append(text)
        if self._kind == "text":
            self._said.append(text)
        if self._pending and self._pending[-1].kind == self._kind:
            text = self._pending.pop().text + text
        self._pending.append(Chunk(text, self._kind))
