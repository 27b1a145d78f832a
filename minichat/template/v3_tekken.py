"""V3-Tekken: Mistral Nemo, Ministral 8B (2410), Pixtral 12B. V3 with a Tekken vocabulary, and with images.

    <s>[INST]question[/INST]answer</s>[INST]system prompt\\n\\nquestion[/INST]

A text of a Tekken vocabulary begins with no space of its own.
"""

from __future__ import annotations

from dataclasses import replace

from minichat.template import v3

VERSION = replace(
    v3.VERSION,
    name="v3-tekken",
    rules=replace(v3.VERSION.rules, version="v3-tekken", images=True),
)
