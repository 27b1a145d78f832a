"""How a model's template is known, until it can be told from more than what the converter recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minichat.engine.types import TemplateHow


@dataclass(frozen=True)
class Told:
    """A version of Mistral's template, or None; how it is known, and from what."""

    template: str | None
    how: TemplateHow
    why: str


def tell(metadata: Mapping[str, Any]) -> Told:
    """What a GGUF's metadata says of the template that its model was trained on."""
    recorded = metadata.get("minichat.template")
    if isinstance(recorded, str):
        return Told(recorded, "recorded", "minichat's converter recorded it")
    if "tokenizer.chat_template" in metadata:
        return Told(None, "unknown", "the file carries a template that minichat did not write")
    return Told(None, "base", "the file carries no template")
