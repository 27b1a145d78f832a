"""The tools that a model may call, as its template shows them. Pure; standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Tool:
    """One function that the model may call. parameters: a JSON Schema of its arguments, an object's."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
