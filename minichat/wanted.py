"""What MODEL means on the hub: a name of the catalog or an address, and what it is called once it is here.

    mistral-small:24b-q8_0                      the catalog knows its repo, and its full name in the store
    mistralai/Mistral-Nemo-Instruct-2407:q6_K   a repo, also as hf:… or as a link to its page or to a file of it

Nothing is asked of the network here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from minichat.gguf_names import quant_of, spelled
from minichat.manifest import DEFAULT_TAG, Manifest, ModelName, name_like
from quant.errors import DataError, UsageError
from quant.types import parse_target

if TYPE_CHECKING:
    from minichat.catalog import Catalog, Entry
    from minichat.hub.address import Address
    from minichat.store import Store


@dataclass(frozen=True)
class Wanted:
    """A model on the hub.

    quant: as asked for, None for q4_K_M or the only one that there is. entry: what the catalog knows of it; then `name`
    is its full name. make: it is to be made from the checkpoint, even if ready GGUF files are published.
    """

    address: Address
    quant: str | None
    name: ModelName | None = None
    entry: Entry | None = None
    make: bool = False

    @property
    def title(self) -> str:
        """What to call it while it is not here yet."""
        address = self.address
        return str(self.name) if self.name else address.repo + (f":{self.quant}" if self.quant else "")

    @property
    def source(self) -> str:
        """What the store records as its origin; the same model has the same one."""
        address = self.address
        revision = f"@{address.revision}" if address.revision not in (None, "main") else ""
        return f"hf:{address.repo}{revision}" + (f"/{address.file}" if _is_choice(address.file) else "")


def from_catalog(text: str, quant: str | None, catalog: Catalog) -> Wanted | None:
    """The model that a name stands for in the catalog. UsageError if its tag and `quant` disagree."""
    from minichat.hub.address import Address

    name = ModelName.parse(text)
    match = catalog.find(name)
    if match is None:
        return None
    if quant is not None and spelled(quant) != match.target:
        if name.tag is not None and name.tag.lower().endswith(match.target.lower()):
            raise UsageError(f"{text} names {match.target}, and --quant {quant}: give one of them")
        again = catalog.find(ModelName(match.canonical.name, f"{match.entry.tag}-{parse_target(quant).name}"))
        match = again or match
    entry = match.entry
    return Wanted(Address(entry.gguf or entry.repo, None, None, None), match.target, match.canonical, entry)


def from_address(address: Address, quant: str | None, catalog: Catalog) -> Wanted:
    """The model at an address; under the catalog's name for it, if it is the repo of one, at its last revision.

    UsageError if `quant` is another one than the address names.
    """
    if address.quant is not None and quant is not None and spelled(address.quant) != spelled(quant):
        raise UsageError(f"{address.repo}:{address.quant} and --quant {quant}: give one of them")
    chosen = spelled(found) if (found := address.quant or quant) else None
    if chosen is not None and _is_choice(address.file) and chosen != quant_of(address.file or ""):
        raise UsageError(f"the link leads to {address.file} itself: leave out --quant {quant or address.quant}")
    is_whole = address.revision in (None, "main") and not _is_choice(address.file)
    entry = catalog.by_repo(address.repo) if is_whole else None
    if entry is None or address.repo.lower() != entry.repo.lower():
        return Wanted(address, chosen)
    target = parse_target(chosen or DEFAULT_TAG).name
    match = catalog.find(ModelName(entry.family, f"{entry.tag}-{target}"))
    return Wanted(address, target, match.canonical, entry, make=True) if match else Wanted(address, chosen)


def checkpoint_of(wanted: Wanted, name: ModelName | None = None) -> Wanted:
    """The same model, to be made from the checkpoint, and called `name` if that is given."""
    repo = wanted.entry.repo if wanted.entry else wanted.address.repo
    if name is not None:
        name = ModelName(name.name, name.tag or refuse_unmade(wanted))
    return replace(wanted, address=replace(wanted.address, repo=repo), name=name or wanted.name, make=True)


def find_here(store: Store, wanted: Wanted) -> Manifest | None:
    """The model, if it is in the store already, under whatever name it came."""
    if wanted.name is not None:
        named = store.find(wanted.name)
        if named is not None and store.has_file(named):
            return named
    same = [m for m in store.models() if m.source.lower() == wanted.source.lower() and store.has_file(m)]
    if wanted.quant is not None:
        return next((m for m in same if m.target.lower() == wanted.quant.lower()), None)
    return next((m for m in same if m.target == DEFAULT_TAG), same[0] if len(same) == 1 else None)


def name_of_repo(repo: str, target: str) -> ModelName:
    """What a model without a name of its own is called in the store.

    >>> str(name_of_repo("bartowski/Mistral-Nemo-Instruct-2407-GGUF", "q4_K_M"))
    'mistral-nemo-instruct-2407:q4_K_M'
    """
    return ModelName(name_like(repo.rsplit("/", 1)[-1], "hub"), target)


def refuse_unmade(wanted: Wanted) -> str:
    """The target to make the checkpoint at. DataError for a quantization that minichat cannot make."""
    try:
        return parse_target(wanted.quant or DEFAULT_TAG).name
    except UsageError as error:
        raise DataError(f"{wanted.address.repo} has no GGUF files, and {error}") from error


def _is_choice(file: str | None) -> bool:
    """Whether a link's file is one model of several in its repo; any other file stands for the whole repo."""
    return file is not None and file.lower().endswith(".gguf")
