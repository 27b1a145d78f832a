"""V3, with a SentencePiece vocabulary: Mistral Small 2 (2409) and others of 2024.

    <s>[INST] question[/INST] answer</s>[INST] system prompt\\n\\nquestion[/INST]

The spaces are SentencePiece's own, part of the first token of each text; the template puts none. The system prompt is
no turn of its own: it stands before the last question, and so it moves on with every turn.
"""

from __future__ import annotations

from minichat.template.version import Version

VERSION = Version(name="v3", system_tokens=None, lone_empty_answer=False)
