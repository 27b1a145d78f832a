"""The models that minichat knows by name, and what a name means.

Tags are Ollama's, without regard to case: `mistral-small`, `mistral-small:24b`, `mistral-small:24b-q8_0`,
`mistral-small:24b-instruct-2501-q4_K_M`, `mistral-small:latest`. A tag without a quantization means q4_K_M; one that is
nothing else (`mistral-small:q8_0`) means the family's default model. Standard library only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from minichat.catalog_file import LATEST, Entry, read_entries
from minichat.home import home
from minichat.manifest import DEFAULT_TAG, ModelName
from quant.types import TARGET_NAMES, parse_target

__all__ = ["Catalog", "Entry", "Match", "load_catalog"]

_MAX_SUGGESTIONS = 5
_NEAR = 0.6  # difflib's ratio: a letter or two of a short name
_PART = 3  # letters of a family's name that are enough to mean it


@dataclass(frozen=True)
class Match:
    """What a name means: a model, and the quantization it is wanted in. `canonical`: the one name that says both."""

    entry: Entry
    target: str

    @property
    def canonical(self) -> ModelName:
        return ModelName(self.entry.family, f"{self.entry.tag}-{self.target}")


@dataclass(frozen=True)
class Catalog:
    """Models in the order in which they are shown."""

    entries: tuple[Entry, ...]

    def find(self, name: ModelName) -> Match | None:
        """What a name means here; None if nothing.

        >>> match = load_catalog().find(ModelName.parse("Mistral-Small:24B-Q8_0"))
        >>> str(match.canonical), match.entry.repo
        ('mistral-small:24b-instruct-2501-q8_0', 'mistralai/Mistral-Small-24B-Instruct-2501')
        """
        tag = (name.tag or LATEST).lower()
        if (entry := self._entry(name.name, tag)) is not None:
            return Match(entry, DEFAULT_TAG)
        rest, target = _parted(tag)
        if target is not None and (entry := self._entry(name.name, rest or LATEST)) is not None:
            return Match(entry, target)
        return None

    def by_repo(self, repo: str) -> Entry | None:
        """The model whose checkpoint, or whose ready files, are in this repo; case does not matter."""
        wanted = repo.lower()
        return next((e for e in self.entries if wanted in (e.repo.lower(), e.gguf and e.gguf.lower())), None)

    def search(self, word: str) -> list[Entry]:
        """The models in whose names, repo, licence or description all parts of `word` occur."""
        parts = word.lower().split()
        texts = ((e, " ".join((e.family, *e.tags, e.repo, e.licence, e.description)).lower()) for e in self.entries)
        return [entry for entry, text in texts if all(part in text for part in parts)]

    def nearest(self, text: str) -> list[str]:
        """Names that a person may have meant by `text`, the likeliest first; none if nothing is like it.

        >>> load_catalog().nearest("mistral-smal:24b-q8_0")[0]
        'mistral-small:24b-q8_0'
        >>> load_catalog().nearest("Ministral-8B-Instruct-2410")
        ['ministral:8b']
        """
        typed, _, tag = text.strip().lower().partition(":")
        families = list(dict.fromkeys(entry.family for entry in self.entries))
        repos = {e.repo.lower(): e.short_name for e in self.entries}
        repos |= {repo.rpartition("/")[2]: name for repo, name in repos.items()}
        if typed in repos:
            return [repos[typed]]
        if typed in families:
            return self._near_tags(typed, tag) or [e.short_name for e in self.entries if e.family == typed]
        near = [family for family in families if len(typed) >= _PART and typed in family]
        near = near or difflib.get_close_matches(typed, families, n=3, cutoff=_NEAR)
        with_tag = [name for family in near for name in self._near_tags(family, tag)] if tag else []
        return (with_tag or near)[:_MAX_SUGGESTIONS]

    def _entry(self, family: str, tag: str) -> Entry | None:
        """The model of a family with this tag or alias; LATEST is the default one."""
        same = [entry for entry in self.entries if entry.family == family]
        return next((e for e in same if tag in e.tags or (tag == LATEST and e.is_default)), None)

    def _near_tags(self, family: str, typed: str) -> list[str]:
        """A family's names with the tags that are most like `typed`."""
        rest, target = _parted(typed)
        tags = [tag for entry in self.entries if entry.family == family for tag in entry.tags]
        near = difflib.get_close_matches(rest, tags, n=3, cutoff=_NEAR)
        return [f"{family}:{tag}{f'-{target}' if target else ''}" for tag in near]


def load_catalog(user: Path | None = None) -> Catalog:
    """The catalog that comes with minichat, with what the user's own replaces and adds.

    user: the user's file, which need not exist; None for catalog.toml in `store.home()`. Raises DataError for one that
    is damaged.
    """
    ours = read_entries(Path(__file__).with_name("catalog.toml"))
    theirs = read_entries(user if user is not None else home() / "catalog.toml")
    return Catalog((*_without(ours, theirs), *theirs))


def _without(entries: Sequence[Entry], later: Sequence[Entry]) -> Iterable[Entry]:
    """`entries` without the models, aliases and defaults that `later` ones take for themselves."""
    models = {(entry.family, entry.tag) for entry in later}
    names = {(entry.family, tag) for entry in later for tag in entry.tags}
    defaults = {entry.family for entry in later if entry.is_default}
    for entry in entries:
        if (entry.family, entry.tag) not in models:
            aliases = tuple(alias for alias in entry.aliases if (entry.family, alias) not in names)
            yield replace(entry, aliases=aliases, is_default=entry.is_default and entry.family not in defaults)


def _parted(tag: str) -> tuple[str, str | None]:
    """A tag in lower case, parted from the quantization at its end.

    >>> _parted("24b-instruct-2501-q4_k_m"), _parted("q8_0"), _parted("24b")
    (('24b-instruct-2501', 'q4_K_M'), ('', 'q8_0'), ('24b', None))
    """
    rest, _, last = tag.rpartition("-")
    is_target = last in {*(target.lower() for target in TARGET_NAMES), "f16"}
    return (rest, parse_target(last).name) if is_target else (tag, None)
