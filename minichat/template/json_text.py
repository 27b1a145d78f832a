"""JSON as mistral-common writes it: `json.dumps` with its own spaces, letters of all scripts as they are."""

from __future__ import annotations

import json
from typing import Any

from quant.errors import TemplateError


def value_of(text: str) -> Any:
    """What a call's arguments or a tool's result mean: the JSON value, else the text itself; {} for "".

    A number that Python cannot hold, and a nesting that it cannot follow, stay a text too; mistral-common fails there.

    >>> value_of('{"b":1.50}'), value_of("22 degrees"), value_of("")
    ({'b': 1.5}, '22 degrees', {})
    """
    try:
        return json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return text


def dumps(value: Any) -> str:
    """The value as JSON text. Raises TemplateError for one that is nested too deeply.

    >>> dumps([{"name": "f", "content": "é"}])
    '[{"name": "f", "content": "é"}]'
    """
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError as error:
        raise TemplateError("a call, a result or a tool is nested too deeply") from error
    except ValueError as error:  # an integer of more digits than Python turns into text
        raise TemplateError("a call, a result or a tool has a number with too many digits") from error
