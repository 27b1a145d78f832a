import pytest

from convert.windows import EVERYTHING, Attention, attention
from quant.errors import CheckpointError


def test_patterns_repeat_over_the_layers() -> None:
    assert attention([None, 8], 6, 100, "x").sliding == (False, True) * 3
    assert attention([8], 3, 100, "x") == Attention(8, (True, True, True))


def test_windows_as_long_as_the_context_are_none() -> None:
    assert attention([100, 200, None], 3, 100, "x") == EVERYTHING
    assert attention([100, 99], 2, 100, "x") == Attention(99, (False, True))


@pytest.mark.parametrize(
    ("windows", "layers", "message"),
    [
        ([None, 8, 8], 4, "x: a pattern of 3 windows does not fit 4 layers"),
        ([], 4, "a pattern of 0 windows"),
        ([8, 16], 4, "windows of 8 and 16 tokens"),
    ],
)
def test_what_no_graph_computes_is_refused(windows: list[int | None], layers: int, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        attention(windows, layers, 100, "x")
