"""The one tree of errors that minichat raises on purpose.

    MinichatError          code
    ├── UsageError           2    wrong options, or an argument that means nothing
    ├── DataError            3    a bad model, checkpoint, file or conversation
    │   ├── CheckpointError       a checkpoint that is missing, incomplete, damaged or unknown
    │   ├── GgufError             a file that is no GGUF, or one that minichat cannot use
    │   ├── QuantError            weights or a type that cannot be quantized
    │   ├── TemplateError         messages that a template cannot express
    │   ├── ToolError             a file of tools that is none, or calls that lead nowhere
    │   ├── SchemaError           a JSON Schema that is invalid, or that minichat cannot use
    │   ├── FitError              a model or a context that memory has no room for
    │   ├── ContextError          a prompt longer than the context
    │   └── GrammarError          a grammar that is none, or that an answer cannot go on with
    ├── NetworkError         4    the hub cannot be reached, or refuses
    ├── StorageError         5    a file cannot be written
    │   └── DiskFullError         there is no room for it on the disk
    └── EngineError          6    the engine cannot do what it should
        └── EngineDiedError       its process died, or got stuck and was ended

Each message is one line: what is wrong, with which file or tensor, and what to do next. `exit_code` is what the
program ends with when the error reaches the command line. The tree stands in the lowest room so that all may raise it.
"""


class MinichatError(Exception):
    exit_code = 1


class UsageError(MinichatError):
    exit_code = 2


class DataError(MinichatError):
    exit_code = 3


class CheckpointError(DataError):
    pass


class GgufError(DataError):
    pass


class QuantError(DataError):
    pass


class TemplateError(DataError):
    pass


class ToolError(DataError):
    pass


class SchemaError(DataError):
    pass


class FitError(DataError):
    pass


class ContextError(DataError):
    pass


class GrammarError(DataError):
    pass


class NetworkError(MinichatError):
    exit_code = 4


class StorageError(MinichatError):
    exit_code = 5


class DiskFullError(StorageError):
    pass


class EngineError(MinichatError):
    exit_code = 6


class EngineDiedError(EngineError):
    """`what`: how it ended, without the advice that the message ends with."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} (/reload, or a new run, starts it again)")
        self.what = what
