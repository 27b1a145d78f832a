"""What a manifest may hold: it comes from a disk that others may write to."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from minichat.manifest import Manifest, ManifestError

OLD = {  # as the first version wrote them
    "name": "small",
    "tag": "24b-q4_K_M",
    "blob": "sha256-" + "a" * 64,
    "size_bytes": 3,
    "target": "q4_K_M",
    "architecture": "llama",
    "template": None,
    "parameters": 10,
    "context_length": 100,
    "source": "/caf\udce9",
    "source_stamp": "s",
    "created": "2026-01-01T00:00:00+00:00",
}
NEW = {
    "repo": "mistralai/Ministral-8B-Instruct-2410",
    "revision": "b" * 40,
    "licence": "mrl",
    "licence_name": "Mistral AI Research License",
    "notice": "Licensed",
    "temperature": 0.15,
    "linked": "/ollama/blobs/sha256-a",
}


def test_old_and_new_ones_are_read() -> None:
    old = Manifest.from_json(json.dumps(OLD))
    assert old == Manifest(**OLD)  # type: ignore[arg-type]
    assert [getattr(old, name) for name in NEW] == [None] * len(NEW)
    new = replace(old, **NEW)  # type: ignore[arg-type]
    assert Manifest.from_json(json.dumps(asdict(new))) == new


HUGE = "x" * 70_000
ODD: dict[str, list[Any]] = {
    "name": ["", "..", "a/b", "A", ".a", "a\n", "a\0", "x" * 5000, None, 5, "ä", "a:b", "\ud800", ["a"], {}],
    "tag": ["", "..", "a/b", "a\n", "x" * 5000, None, 5, "a:b", "../../x"],
    "blob": ["", "sha256-", "sha256-aa", "a" * 64, "sha256-" + "A" * 64, "sha256-" + "a" * 65, "../../secret", None, 5],
    "size_bytes": [-1, 1.5, "3", None, True, 1 << 70, [3]],
    "parameters": [-1, 1.5, "3", None, False],
    "context_length": [-1, 4096.0, "3", None, 10**30],
    "target": [None, 5, HUGE],
    "template": [5, True, [], HUGE],
    "source": [None, 5, HUGE],
    "repo": ["", "x", "a/b/c", "../b", "a/..", "a/b\n", "https://x/y", 5, "a/" + "x" * 5000],
    "revision": [5, True, HUGE],
    "licence": [5, [], HUGE],
    "notice": [5, {}, HUGE],
    "temperature": [-0.1, 1e9, "0.15", True, [0.1]],
    "linked": ["", "relative/path", "../x", "/a\0b", 5, "/" + HUGE],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in ODD.items() for value in values])
def test_odd_fields_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ManifestError, match=f"^its {field} makes no sense$"):
        Manifest.from_json(json.dumps(OLD | NEW | {field: value}))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_are_none(number: str) -> None:
    text = json.dumps(OLD | NEW).replace("0.15", number)
    with pytest.raises(ManifestError, match="temperature"):
        Manifest.from_json(text)


@pytest.mark.parametrize("text", ["[]", "null", "5", '"x"', "{}", json.dumps(OLD | {"x" * 100: 1})])
def test_what_is_no_manifest(text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(text)
    assert len(str(caught.value)) < 100
