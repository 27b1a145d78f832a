"""Python functions as tools: described and called here, in a process of their own, run as a script by path.

    python functions.py --describe FILE.py       {"tools": [...]} or {"problem": "...", "line": 3 or null}
    python functions.py --call FILE.py NAME      arguments as JSON on standard input -> the result, a text or JSON

The tools of a file are the functions that it defines itself and whose names do not begin with `_`, in their order:

    def get_current_weather(location: str, format: Literal["celsius", "fahrenheit"] = "celsius") -> str:
        '''The current weather in a place.

        Args:
            location: The city and the country, such as Paris, France.
        '''

Hints become the JSON Schema (`minichat.tools.hints`), the docstring the descriptions (`minichat.tools.docstrings`);
what has a default may be left out; a coroutine is awaited. An exception ends the call with exit code 1 and is told on
standard error. Standard output is the result's alone: what functions print goes to standard error, and they have
nothing to read. Standard library only.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import importlib.util
import inspect
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import IO, Any

if not __package__:  # run as a script: the folder above the packages takes the place of this one
    sys.path[0] = str(Path(__file__).parents[2])

from minichat.tools import docstrings, hints

_MODULE = "minichat_tools_file"  # the name that the file has as a module: no other's
_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def command(action: str, path: Path) -> tuple[str, ...]:
    """The beginning of a command that does "--describe" or "--call" with a file."""
    return (sys.executable, __file__, action, str(path.absolute()))


def main() -> int:
    action, path, *names = sys.argv[1:]
    with _private_output() as out:
        sent = sys.stdin.buffer.read()  # to its end: a function that reads finds nothing
        if action == "--describe":
            json.dump(describe(Path(path)), out)
            return 0
        try:
            out.write(call(Path(path), names[0], json.loads(sent)))
        except (Exception, SystemExit) as error:
            sys.stderr.write("".join(traceback.format_exception_only(error)))
            return 1
    return 0


def describe(path: Path) -> dict[str, Any]:
    """The functions of a file as a list of tools in OpenAI's shape, or what is wrong with it, in one line."""
    line: int | None = None
    try:
        module = _load(path)
        tools = []
        for name, function in _functions(module):
            line = inspect.unwrap(function).__code__.co_firstlineno
            tools.append({"type": "function", "function": description_of(name, function)})
        if not tools:
            line = None
            raise TypeError("no functions are defined in it")
    except SyntaxError as error:
        return {"problem": f"{type(error).__name__}: {error.msg}", "line": error.lineno}
    except hints.HintError as error:
        return {"problem": str(error), "line": line}
    except (Exception, SystemExit) as error:
        said = "".join(traceback.format_exception_only(error))
        return {"problem": " ".join(said.split()), "line": line or _line_of(error, path)}
    return {"tools": tools}


def call(path: Path, name: str, arguments: dict[str, Any]) -> str:
    """What the function of this name returns, as text. Passes on whatever it raises."""
    return result_of(name, dict(_functions(_load(path)))[name], arguments)


def result_of(name: str, function: Callable[..., Any], arguments: dict[str, Any]) -> str:
    """What a function returns for these arguments, as text. Passes on whatever it raises."""
    wanted = hints.parameters_of(function)
    if unknown := set(arguments) - set(wanted):
        raise TypeError(f"{name} has no parameter {min(unknown)!r}")
    given = {key: hints.converted(value, wanted[key], key) for key, value in arguments.items()}
    value = function(**given)
    if inspect.isawaitable(value):
        value = _run(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_plain)


def _run(value: Awaitable[Any]) -> Any:
    """What a coroutine comes to; in a thread of its own where this one has a loop that runs, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_awaited(value))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, _awaited(value)).result()


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def _load(path: Path) -> ModuleType:
    """The file as a module, with its folder on the path as if it were run. Passes on whatever it raises."""
    sys.dont_write_bytecode = True  # no cache beside the person's file
    sys.path[0] = str(path.parent)
    specification = importlib.util.spec_from_file_location(_MODULE, path)
    if specification is None or specification.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[_MODULE] = module  # dataclasses look there for their hints
    specification.loader.exec_module(module)
    return module


def _functions(module: ModuleType) -> Iterable[tuple[str, Callable[..., Any]]]:
    """The public functions that the module itself defines, in order; one with two names counts once."""
    seen = set()
    for name, value in vars(module).items():
        if name.startswith("_") or inspect.isclass(value) or id(value) in seen:
            continue
        if callable(value) and inspect.isfunction(inspect.unwrap(value)) and value.__module__ == _MODULE:
            seen.add(id(value))
            yield name, value


def description_of(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """Name, description and parameters of a function. Raises HintError for what cannot be told to a model."""
    text = docstrings.read(inspect.getdoc(function) or "")
    wanted = hints.parameters_of(function)
    properties = {}
    required = []
    for key, parameter in inspect.signature(function).parameters.items():
        where = f"{name}: the parameter {key}"
        if parameter.kind not in _KINDS:
            raise hints.HintError(f"{where} has no name to be given by (*, ** or before /): a tool needs names")
        if key not in wanted:
            raise hints.HintError(f"{where} has no type hint (functions that are no tools have names with _ first)")
        schema = hints.schema_of(wanted[key], where)
        if key in text.parameters and "description" not in schema:
            schema["description"] = text.parameters[key]
        properties[key] = schema
        if parameter.default is inspect.Parameter.empty:
            required.append(key)
    return {"name": name, "description": text.description, "parameters": hints.object_of(properties, required)}


def _line_of(error: BaseException, path: Path) -> int | None:
    """The last line of the file that an exception passed through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def _plain(value: Any) -> Any:
    """A value that JSON does not know, as one that it does; at worst as its text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, enum.Enum):
        return value.value
    return list(value) if isinstance(value, (set, frozenset)) else str(value)


def _private_output() -> IO[str]:
    """Standard output under a number that nobody else knows; its old number now leads to standard error."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "w", encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
