"""Licences that bind whoever uses a model: shown once, asked for once, remembered.

Mistral's open models are under Apache 2.0, which asks nothing of a user. Some are under the Mistral AI Research
License (MRL): research only. Before the first use of such a model its limits are shown, and a person says yes, or a
script says --accept-licence. Answers are kept in licences.json in `store.home()`, by repo, else by the file's hash; on
a disk that cannot be written they hold for the moment.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from convert.provenance import MRL, MRL_NAME
from convert.publish import published
from minichat.folders import make_folder, read_plain
from minichat.home import home
from minichat.terminal.ask import can_ask, says_yes
from minichat.terminal.output import say
from minichat.terminal.sanitize import clean_line
from quant.errors import StorageError, UsageError

if TYPE_CHECKING:
    from minichat.manifest import Manifest

_FILE = "licences.json"
_MAX_BYTES = 1 << 20
_NAMES_MRL = re.compile(r"\bmrl\b|\bmistral (ai )?research licen[sc]e\b")


@dataclass(frozen=True)
class Terms:
    """A licence that binds a user, in plain words, which are no substitute for its own."""

    name: str
    allows: str
    forbids: str
    link: str


_TERMS = {
    MRL: Terms(
        name=MRL_NAME,
        allows="It allows personal, scientific and academic research without profit; models made from this one, and "
        "copies that carry its notice, on the same terms.",
        forbids="It forbids any commercial use, of the model and of what it writes, also inside a company: that takes "
        "another licence from Mistral AI.",
        link="https://mistral.ai/licenses/MRL-0.1.md",
    )
}


@dataclass(frozen=True)
class Licensed:
    """A model as far as its licence matters."""

    name: str
    licence: str | None
    licence_name: str | None
    repo: str | None
    blob: str | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> Licensed:
        m = manifest
        return cls(m.full_name, m.licence, m.licence_name, m.repo, m.blob)

    @property
    def key(self) -> str:
        """What an answer is remembered by."""
        return (self.repo or self.blob or self.name).lower()


def terms_of(licence: str | None, licence_name: str | None = None) -> Terms | None:
    """What a licence, as a hub or a GGUF names it, binds a user to; None for one that is not known to bind.

    >>> terms_of("other", "mistral-ai-research-licence").name
    'Mistral AI Research License'
    >>> terms_of("apache-2.0") is None
    True
    """
    told = re.sub("[-_. ]+", " ", f"{licence or ''} {licence_name or ''}").lower()
    return _TERMS[MRL] if _NAMES_MRL.search(told) else None


def unaccepted(model: Licensed) -> Terms | None:
    """The terms that bind whoever uses `model` and that have not been accepted yet; None if there are none."""
    terms = terms_of(model.licence, model.licence_name)
    return terms if terms is not None and model.key not in _accepted() else None


def ask_once(model: Licensed, accepted: bool) -> None:
    """Sees to it that whoever uses `model` has accepted its licence, now or before. Returns at once if none binds.

    accepted: --accept-licence was given. Shows the terms and asks on stderr. UsageError for a no, and where there is
    no terminal to ask at.
    """
    terms = unaccepted(model)
    if terms is None:
        return
    if not accepted and not can_ask():
        raise UsageError(
            f"{model.name} is under the {terms.name}, for research only ({terms.link}): "
            "--accept-licence says that you accept it"
        )
    show_terms(model.name, terms, sys.stderr)
    if not accepted and not says_yes("Do you accept it?"):
        raise UsageError(f"the {terms.name} was not accepted, and {model.name} is not used without")
    _remember(model.key, terms)


def show_terms(name: str, terms: Terms, stream: IO[str]) -> None:
    """The licence's name and limits, and where it can be read."""
    say(f"{clean_line(name)} is under the {terms.name}.", stream=stream)
    for line in (terms.allows, terms.forbids, f"What counts is the licence itself: {terms.link}"):
        say(line, hanging=2, stream=stream)


def _accepted() -> dict[str, Any]:
    """What was accepted before, by repo or hash; nothing where the file is missing or damaged: then we ask again."""
    try:
        told = json.loads(_read(home() / _FILE) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _remember(key: str, terms: Terms) -> None:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    told = _accepted() | {key: {"licence": terms.name, "accepted": now}}
    try:
        make_folder(home())
        with published(home() / _FILE) as out:
            out.write(json.dumps(told, indent=1).encode())
    except (OSError, StorageError):
        pass  # a disk that cannot be written: accepted all the same, and asked again next time


def _read(path: Path) -> bytes | None:
    try:
        return read_plain(path, _MAX_BYTES)
    except OSError:
        return None
