"""V3-Tekken: Ministral 8B (2410). V3 with a Tekken vocabulary, whose texts begin with no space of their own.

<s>[INST]question[/INST]answer</s>[INST]system prompt\\n\\nquestion[/INST]
"""

from __future__ import annotations

from dataclasses import replace

from minichat.template import v3

VERSION = replace(v3.VERSION, name="v3-tekken")
