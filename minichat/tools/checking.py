"""Is a model's call one that can be run? The tool, the JSON of its arguments, their schema. What is wrong is told in
one line that the model can learn from.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any, NoReturn

from minichat.template.messages import Call
from minichat.template.tools import Tool

MAX_ARGUMENTS_CHARACTERS = 1 << 20
_DRAFT = "http://json-schema.org/draft-07/schema#"  # what mistral-common reads a tool's parameters by
_SHOWN = 60  # characters of a name

Checked = tuple[dict[str, Any], None] | tuple[None, str]


def checked(tools: Sequence[Tool], call: Call) -> Checked:
    """The arguments of a call, or what is wrong with it. Raises SchemaError where a tool's schema cannot be checked.

    >>> checked([Tool("now", parameters={"required": ["zone"]})], Call("now", "{}"))
    (None, "now: 'zone' is missing")
    """
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        return None, _unknown(call.name, [tool.name for tool in tools])
    arguments, problem = parsed(call.arguments)
    if arguments is not None:
        from minichat.schema.check import problem as problem_of  # imports jsonschema

        problem = problem_of(arguments, schema_of(tool))
    if arguments is None or problem is not None:
        return None, f"{tool.name}: {problem}"
    return arguments, None


def parsed(arguments: str) -> Checked:
    """The arguments as an object, or why they are none. No text at all is an empty object.

    >>> parsed('{"a": 1}'), parsed("[1]")
    (({'a': 1}, None), (None, 'the arguments must be a JSON object'))
    """
    if len(arguments) > MAX_ARGUMENTS_CHARACTERS:
        return None, f"the arguments are longer than {MAX_ARGUMENTS_CHARACTERS:,} characters"
    try:
        value = json.loads(arguments or "{}", parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return None, f"the arguments are not valid JSON: {error.msg} (character {error.pos + 1})"
    except UnicodeEncodeError:
        return None, "the arguments hold half a character"
    except RecursionError:
        return None, "the arguments are nested too deeply"
    except ValueError as error:  # `_refuse`, or Python's limit on digits
        return None, f"the arguments are not valid JSON: {str(error)[:_SHOWN]}"
    return (value, None) if isinstance(value, dict) else (None, "the arguments must be a JSON object")


def schema_of(tool: Tool) -> dict[str, Any]:
    """The schema that arguments are checked by: Draft 7 if it names no other."""
    return {"$schema": _DRAFT} | tool.parameters


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:_SHOWN], known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known[:20]) or 'none'}"
    return f"there is no tool {json.dumps(name[:_SHOWN], ensure_ascii=False)}; {hint}"
