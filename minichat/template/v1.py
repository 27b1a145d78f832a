"""V1, with a SentencePiece vocabulary of 32,000: Mistral 7B v0.1 and v0.2, Mixtral 8x7B.

    <s> [INST] system prompt\\n\\nquestion [/INST] answer</s> [INST] question [/INST]

[INST] and [/INST] are text here: the vocabulary has no control tokens but <s> and </s>. So what a user types can look
just like them, and no template can help it; <s> and </s> themselves stay out of reach. The system prompt stands before
the first question. There are no tools, and an answer keeps the spaces at its end.
"""

from __future__ import annotations

from minichat.template.messages import Content, TextPart
from minichat.template.pieces import Piece, Text
from minichat.template.rules import Rules
from minichat.template.version import Version


def _question(system: str, content: Content) -> list[Piece]:
    texts = [content] if isinstance(content, str) else [part.text for part in content if isinstance(part, TextPart)]
    return [Text(f"[INST] {system}{''.join(texts)} [/INST]")]


def _nothing(_: object) -> list[Piece]:
    return []


VERSION = Version(
    name="v1",
    rules=Rules(
        version="v1",
        tools=False,
        call_ids="none",
        unique_ids=False,
        one_result=False,
        text_and_calls=False,
        images=False,
        thinking=False,
    ),
    system="first",
    question=_question,
    strips=False,
    tools_with="last",
    calls=_nothing,
    result=_nothing,
    call_syntax="none",
    sorts_results=False,
    forgets_calls=False,
)
