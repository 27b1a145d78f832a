"""V7-Tekken: Mistral Small 3 and 3.1. V7 with a Tekken vocabulary, whose texts begin with no space of their own.

<s>[SYSTEM_PROMPT]system prompt[/SYSTEM_PROMPT][INST]question[/INST]answer</s>[INST]question[/INST]
"""

from __future__ import annotations

from dataclasses import replace

from minichat.template import v7

VERSION = replace(
    v7.VERSION,
    name="v7-tekken",
    rules=replace(v7.VERSION.rules, version="v7-tekken"),
)
