"""Lines on the pipes."""

import pytest

from minichat.engine import protocol
from quant import errors


def test_any_text_survives_the_pipe_on_one_line() -> None:
    line = {"id": 1, "text": "a\nb\u2028c\0\x1b[31m🐈\ud800"}
    raw = protocol.encode(line)
    assert raw.count(b"\n") == 1
    assert protocol.decode(raw) == line


@pytest.mark.parametrize("raw", [b"", b"noise\n", b"[1]\n", b'{"id": 1', b"\xff\n"])
def test_noise_is_an_engine_error(raw: bytes) -> None:
    with pytest.raises(errors.EngineError):
        protocol.decode(raw)


@pytest.mark.parametrize("kind", [errors.ContextError, errors.GgufError, errors.EngineError, errors.UsageError])
def test_errors_cross_the_pipe(kind: type[errors.MinichatError]) -> None:
    found = protocol.error_from(protocol.error_line(3, kind("what is wrong")))
    assert type(found) is kind
    assert str(found) == "what is wrong"


@pytest.mark.parametrize("kind", ["annotations", "ValueError", "", "object"])
def test_only_our_own_errors_are_made(kind: str) -> None:
    assert type(protocol.error_from({"kind": kind, "message": "m"})) is errors.EngineError
