"""A conversion that is refused, and leaves everything as it was."""

from pathlib import Path
from typing import Any

import pytest

from convert.pipeline import convert
from quant.errors import MinichatError


def assert_untouched(source: Path, destination: Path, error: type[MinichatError], message: str, **more: Any) -> None:
    """The conversion is refused in one line, no new file is there, and the old one is as it was."""
    destination.parent.mkdir(exist_ok=True)
    for old in (None, b"old"):
        if old:
            destination.write_bytes(old)
        before = sorted(destination.parent.iterdir())
        with pytest.raises(error, match=message) as caught:
            convert(source, destination, **more)
        assert "\n" not in str(caught.value)
        assert sorted(destination.parent.iterdir()) == before
        assert not old or destination.read_bytes() == old
