"""V7-Tekken: Mistral Small 3 and 3.1. A system message is a turn of its own, where it was said.

    <s>[SYSTEM_PROMPT]system prompt[/SYSTEM_PROMPT][INST]question[/INST]answer</s>[INST]question[/INST]

An answer without text is let through beside one with text: mistral-common merges them before it looks.
"""

from __future__ import annotations

from dataclasses import replace

from minichat.template import v3_tekken

VERSION = replace(
    v3_tekken.VERSION,
    name="v7-tekken",
    system_tokens=("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    lone_empty_answer=True,
)
