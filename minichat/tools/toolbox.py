"""The file of tools that a person gives: what the model is told of them, and the command that runs each.

FILE is a JSON list in OpenAI's shape; a tool may have a command, a list of arguments that is started without a shell:

    [{"type": "function",
      "function": {"name": "get_current_weather", "description": "...", "parameters": {"type": "object", ...}},
      "command": ["./weather.py", "--metric"]}]

A tool without one is for the person to answer. A FILE that ends in `.py` is plain Python functions instead: see
`minichat.tools.functions`, which describes and calls them in a process of their own. It is run when it is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from minichat.template.tools import Tool, parse_tools
from minichat.tools.checking import schema_of
from minichat.tools.process import Limits, described, run
from quant.errors import SchemaError, ToolError

MAX_FILE_BYTES = 4 << 20
_DESCRIBING = Limits(seconds=30.0, output_bytes=MAX_FILE_BYTES)
_SHOWN = 60  # characters of a name or a word from the file


@dataclass(frozen=True)
class Toolbox:
    """The tools of one file.

    tools: what the model is told of them. commands: what runs a tool, by its name; missing where nothing does.
    folder: the commands' working directory.
    """

    tools: tuple[Tool, ...] = ()
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folder: Path = Path()

    def has_command(self, name: str) -> bool:
        return name in self.commands


def load_tools(path: Path) -> Toolbox:
    """The tools in a file.

    Raises ToolError, or TemplateError for what no template can hold: one line that names the file and the tool.
    """
    folder = path.absolute().parent
    value = _described(path) if path.suffix == ".py" else _parsed(path)
    tools = parse_tools(value, str(path))
    if not tools:
        raise ToolError(f"{path} holds no tools")
    commands: dict[str, tuple[str, ...]] = {}
    names: set[str] = set()
    for number, (tool, item) in enumerate(zip(tools, value, strict=True), start=1):
        where = f"{path}: tool {number} ({tool.name})"
        if tool.name in names:
            raise ToolError(f"{where} has the name of an earlier one: each tool needs its own")
        names.add(tool.name)
        _check_schema(tool, where)
        command = _command(item, where)
        if command is not None:
            commands[tool.name] = _placed(command, folder)
    return Toolbox(tools, commands, folder)


def _check_schema(tool: Tool, where: str) -> None:
    """That arguments can be checked by the tool's parameters: better known now than when a model calls."""
    from minichat.schema.check import check_schema  # imports jsonschema

    try:
        check_schema(schema_of(tool))
    except SchemaError as error:
        raise ToolError(f"{where}: its parameters: {error}") from error


def _command(item: Mapping[str, Any], where: str) -> tuple[str, ...] | None:
    """The argv beside `function`, or in it. None where there is none."""
    places = [place for place in (item, item.get("function")) if isinstance(place, dict) and "command" in place]
    if not places:
        return None
    if len(places) > 1:
        raise ToolError(f'{where} has two commands: one beside "function" and one in it')
    command = places[0]["command"]
    words = command if isinstance(command, list) else []
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words) or not words[0].strip():
        raise ToolError(f'{where}: its "command" is a list of a program and its arguments, such as ["./weather.py"]')
    return tuple(words)


def _placed(command: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The command with a program that is given by a relative path made absolute; a bare name is left for PATH.

    >>> _placed(("./weather.py", "x"), Path("/home/me"))
    ('/home/me/weather.py', 'x')
    """
    program = Path(command[0])
    bare = "/" not in command[0] and program.name == command[0]
    return command if bare else (str(folder / program), *command[1:])


def _parsed(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ToolError(f"{path}: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise ToolError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MB: no file of tools is")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ToolError(f"{path} is not UTF-8 text (byte {error.start})") from error
    return _json(text, path)


def _json(text: str, path: Path) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        reason = f"{error.msg} (line {error.lineno}, column {error.colno})"
        raise ToolError(f"{path} is not valid JSON: {reason}") from error
    except UnicodeEncodeError as error:
        raise ToolError(f"{path} holds half a character (a \\ud... escape without its other half)") from error
    except RecursionError as error:
        raise ToolError(f"{path} is not valid JSON: nested too deeply") from error
    except ValueError as error:  # `_refuse`, or Python's limit on digits
        raise ToolError(f"{path} is not valid JSON: {str(error)[:_SHOWN]}") from error
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _described(path: Path) -> Any:
    """What the functions of a Python file are as tools, in the JSON file's shape, their commands included."""
    from minichat.tools import functions  # imports asyncio

    folder = path.absolute().parent
    try:
        with path.open("rb"):
            pass
        ended = run(functions.command("--describe", path), b"", folder, _DESCRIBING)
    except OSError as error:
        raise ToolError(f"{path}: {error.strerror or error}") from error
    if ended.late:
        raise ToolError(
            f"{path} did not come to its end within {_DESCRIBING.seconds:g} s: it is run to find its functions"
        )
    if ended.cut:
        raise ToolError(f"{path}: its functions are described by more than {MAX_FILE_BYTES >> 20} MB")
    said = ended.output.decode(errors="replace")
    try:
        answer = json.loads(said)
    except ValueError as error:
        reason = described(ended.code) if ended.code else "without a word"
        raise ToolError(f"{path} ended Python while it was loaded ({reason})") from error
    tools = answer.get("tools") if isinstance(answer, dict) else None
    if isinstance(answer, dict) and isinstance(answer.get("problem"), str):
        line = f", line {answer['line']}" if answer.get("line") else ""
        raise ToolError(f"{path}{line}: {answer['problem']}")
    if not isinstance(tools, list) or not all(isinstance(tool, dict) and _name(tool) for tool in tools):
        raise ToolError(f"{path} wrote something of its own where its functions are described")
    for tool in tools:
        tool["command"] = [*functions.command("--call", path), _name(tool)]
    return tools


def _name(tool: Mapping[str, Any]) -> str | None:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None
