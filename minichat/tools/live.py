"""Functions of this very process as tools: what a model is told of them, and their calls.

A function is described by its hints and its docstring, as one in a file is (`minichat.tools.functions`), and called in
the thread that reads the answer. There is no limit on how long it takes. What it raises is the result of that call, as
a text that tells the model; KeyboardInterrupt and SystemExit are the program's and are passed on.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from minichat.template.tools import Tool, check_tools
from minichat.tools.checking import parsed
from quant.errors import ToolError

if TYPE_CHECKING:
    from minichat.template.messages import Call

Function = Callable[..., Any]


class LiveTools:
    """The tools that some functions are."""

    def __init__(self, functions: Sequence[Function]) -> None:
        """Raises ToolError for what is no function, has no hints that a model can be told, or a name that is taken."""
        self._functions: dict[str, Function] = {}
        tools = []
        for function in functions:
            tool = _described(function)
            if tool.name in self._functions:
                raise ToolError(f"two tools are called {tool.name}: each needs a name of its own")
            self._functions[tool.name] = function
            tools.append(tool)
        check_tools(tools)
        self.tools = tuple(tools)

    def result_of(self, call: Call) -> str:
        """What a call comes to, for the model to read; what a function raises begins with "Error: "."""
        from minichat.tools.functions import result_of

        arguments, problem = parsed(call.arguments)
        if arguments is None:
            return f"Error: {problem}"
        try:
            return result_of(call.name, self._functions[call.name], arguments)
        except Exception as error:
            return f"Error: {''.join(traceback.format_exception_only(error)).strip()}"


def _described(function: Function) -> Tool:
    from minichat.tools import hints
    from minichat.tools.functions import description_of

    name = getattr(function, "__name__", "")
    if not callable(function) or not name:
        raise ToolError(f"{function!r:.60} is no function that can be a tool: give functions with names")
    try:
        told = description_of(name, function)
    except (hints.HintError, NameError, ValueError) as error:
        raise ToolError(f"{name} cannot be a tool: {str(error).removeprefix(f'{name}: ')}") from error
    return Tool(told["name"], told["description"], told["parameters"])
