"""What is on the hub: one repo's files at a commit, or a search. Through huggingface_hub, one request each."""

from dataclasses import dataclass
from typing import Any

from minichat.hub import environment
from minichat.hub.address import is_repo
from minichat.hub.asking import asked
from minichat.hub.listing import (
    RemoteFile,
    Repo,
    checked_commit,
    checked_files,
    checked_id,
    text_or_none,
)
from minichat.hub.patience import DEFAULT_PATIENCE, Patience
from minichat.terminal.sanitize import clean_line
from quant.errors import DataError, UsageError

__all__ = ["Found", "RemoteFile", "Repo", "look_up", "search"]

_LOOK_UP_S = 60.0
_SEARCH_S = 20.0
_SEARCHED = ["downloads", "gated", "tags", "safetensors", "gguf"]


@dataclass(frozen=True)
class Found:
    """A repo that a search has found. `parameters`: how many, if the hub knows."""

    id: str
    downloads: int
    licence: str | None
    gated: bool
    has_gguf: bool
    has_safetensors: bool
    parameters: int | None


def look_up(
    repo: str,
    revision: str | None = None,
    *,
    patience: Patience = DEFAULT_PATIENCE,
    endpoint: str | None = None,
) -> Repo:
    """The repo at its main branch, or at `revision` (a branch, tag or commit), with all its files.

    UsageError if `repo` cannot be one; DataError if there is no such repo or revision, if a login is needed, or if the
    listing is damaged; NetworkError if the hub cannot be reached.
    """
    endpoint = endpoint or environment.endpoint()
    if not is_repo(repo):
        raise UsageError(f"{clean_line(repo)[:100]} is no name of a repo: write ORG/REPO")

    def ask(token: str | None) -> Any:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=endpoint, token=token or False)
        return api.model_info(repo, revision=revision, files_metadata=True, timeout=patience.stall_s)

    info = asked(ask, f"the listing of {clean_line(repo)}", endpoint, repo, revision, patience, _LOOK_UP_S)
    card = info.card_data.to_dict() if hasattr(info.card_data, "to_dict") else {}
    return Repo(
        id=checked_id(info.id),
        commit=checked_commit(info.sha),
        gated=bool(info.gated),
        licence=text_or_none(card.get("license")) or _tagged(info.tags, "license:"),
        files=checked_files(info.siblings),
        licence_name=text_or_none(card.get("license_name")),
        licence_link=text_or_none(card.get("license_link")),
    )


def search(
    word: str, limit: int = 20, *, patience: Patience = DEFAULT_PATIENCE, endpoint: str | None = None
) -> list[Found]:
    """The repos of models that the hub finds for `word`, the most fetched first. NetworkError if it cannot be asked.

    One page and one try: a search is repeated by whoever searches.
    """
    endpoint = endpoint or environment.endpoint()

    def ask(token: str | None) -> Any:
        # HfApi.list_models would try again for half a minute, with a line on stderr for each try.
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            get_session,
            hf_raise_for_status,
        )

        params: dict[str, Any] = {"search": word, "limit": limit, "sort": "downloads", "expand": _SEARCHED}
        headers = build_hf_headers(token=token or False)
        address = f"{endpoint}/api/models"
        response = get_session().get(address, params=params, headers=headers, timeout=patience.stall_s)
        hf_raise_for_status(response)
        return response.json()

    once = Patience(stall_s=patience.stall_s, tries=1)
    listed = asked(ask, "the search", endpoint, "", None, once, _SEARCH_S)
    if not isinstance(listed, list):
        raise DataError("the hub's answer to the search is damaged: try again, or use another hub")
    return [_found(entry) for entry in listed[:limit]]


def _found(entry: Any) -> Found:
    if not isinstance(entry, dict):
        raise DataError("the hub's answer to the search is damaged: try again, or use another hub")
    tags, safetensors, gguf = entry.get("tags"), entry.get("safetensors"), entry.get("gguf")
    known = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    parameters = [part.get("total") for part in (safetensors, gguf) if isinstance(part, dict)]
    return Found(
        id=checked_id(entry.get("id")),
        downloads=_count(entry.get("downloads")) or 0,
        licence=_tagged(known, "license:"),
        gated=bool(entry.get("gated")),
        has_gguf="gguf" in known or isinstance(gguf, dict),
        has_safetensors="safetensors" in known or isinstance(safetensors, dict),
        parameters=next((n for n in map(_count, parameters) if n), None),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 60 else None


def _tagged(tags: object, prefix: str) -> str | None:
    """
    >>> _tagged(["gguf", "license:apache-2.0"], "license:")
    'apache-2.0'
    """
    texts = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return text_or_none(next((tag.removeprefix(prefix) for tag in texts if tag.startswith(prefix)), None))
