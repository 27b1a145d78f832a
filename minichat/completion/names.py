"""The names that could complete a word: each function gives those that make sense behind what is typed so far.

They read small files only. Errors pass through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def quantizations(typed: str) -> Iterable[str]:  # noqa: ARG001
    from quant.types import TARGET_NAMES

    return TARGET_NAMES


def templates(typed: str) -> Iterable[str]:  # noqa: ARG001
    from minichat.parameters import PARAMETERS

    return PARAMETERS["template"].choices


def stored(typed: str) -> Iterator[str]:  # noqa: ARG001
    """The models in the store."""
    from minichat.store import Store

    for manifest in Store.default().models():
        yield manifest.full_name


def here(typed: str) -> Iterator[str]:
    """The models in the store, and those that come with minichat."""
    from minichat.demos import demos

    yield from demos()
    yield from stored(typed)


def known_models(typed: str) -> Iterator[str]:
    """`here`, and the catalog's: families, behind a colon their tags, behind a whole tag and a dash quantizations.

    >>> [name for name in known_models("ministral:8b-q4_") if name.startswith("ministral:8b-q4_")]
    ['ministral:8b-q4_K_M', 'ministral:8b-q4_K_S', 'ministral:8b-q4_0']
    """
    from minichat.catalog import load_catalog

    yield from here(typed)
    for entry in load_catalog().entries:
        if ":" not in typed:
            yield entry.family
            continue
        for tag in entry.tags:
            name = f"{entry.family}:{tag}"
            yield name
            if typed.startswith(f"{name}-"):
                yield from (f"{name}-{target}" for target in quantizations(typed))


def sessions(typed: str) -> Iterable[str]:  # noqa: ARG001
    from minichat.sessions import Sessions

    return Sessions.default().names()


def personas(typed: str) -> Iterable[str]:  # noqa: ARG001
    from minichat.settings_file import load_settings

    return load_settings().personas
