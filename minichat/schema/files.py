"""A JSON Schema from a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NoReturn

from quant.errors import DataError

MAX_BYTES = 1 << 20


def read_schema(path: str) -> object:
    """The JSON value in the file at `path`, or on standard input for `-`; whether it is a schema is not looked at here.

    Raises DataError, one line, for what cannot be read, is longer than 1 MB, no UTF-8 or no JSON (RFC 8259: no NaN).
    """
    name = "standard input" if path == "-" else path
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as stream:
                raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise DataError(f"{name}: {getattr(error, 'strerror', None) or 'it is no path'}") from error
    if len(raw) > MAX_BYTES:
        raise DataError(f"{name} is longer than {MAX_BYTES >> 20} MB, which is too long for a JSON Schema")
    try:
        return json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{name} is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:
        raise DataError(f"{name} is not valid JSON: nested too deeply") from error
    except ValueError as error:
        raise DataError(f"{name} is not valid JSON: {_reason(error)}") from error


class _NumberError(ValueError):
    pass


def _refuse_constant(text: str) -> NoReturn:
    raise _NumberError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    if abs(number := float(text)) == float("inf"):
        raise _NumberError(f"{text[:20]} is too large a number")
    return number


def _reason(error: ValueError) -> str:
    return str(error) if isinstance(error, _NumberError) else "a number with too many digits"
