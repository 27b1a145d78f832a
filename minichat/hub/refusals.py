"""What a hub's refusal means to a person, and what to do next.

The hub answers 401 and 403 for several reasons, told apart by X-Error-Code and X-Error-Message: no login, a token that
is not valid, a licence that was not accepted, a request that is still to be granted. Its own texts are not passed on.
"""

from collections.abc import Mapping

from minichat.terminal.sanitize import clean_line
from quant.errors import DataError, MinichatError

_LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


def refusal(
    status: int,
    headers: Mapping[str, str],
    *,
    endpoint: str,
    repo: str,
    revision: str | None = None,
    file: str | None = None,
    has_token: bool,
) -> MinichatError | None:
    """The error for an answer of 400 or more to a request at the hub itself; None if trying again may help.

    `headers`: by names in lower case. `revision`, `file`: what was asked for, if anything.
    """
    code, said = headers.get("x-error-code", ""), headers.get("x-error-message", "").lower()
    page = f"{endpoint}/{repo}"
    repo, revision, file = repo, clean_line(revision or ""), clean_line(file or "")
    if status in (401, 403) and "invalid credentials" in said:
        return DataError(f"the hub does not accept your token, it may have expired: {_LOG_IN} anew")
    if code == "GatedRepo":
        return _gated(status, repo, page, has_token)
    if code == "RevisionNotFound":
        return DataError(f"{repo} has no revision {revision}: see {page}/commits for those that it has")
    if code == "EntryNotFound":
        return DataError(f"{repo} has no file {file}: see {page}/tree/main for those that it has")
    if "disabled" in said:
        return DataError(f"{repo} has been disabled by the hub: choose another repo")
    if status == 401 or code == "RepoNotFound" or (status == 404 and not code):
        login = "" if has_token else f"; if it is private, {_LOG_IN}"
        may_see = " that your account may see" if has_token else ""
        return DataError(f"the hub has no repo {repo}{may_see}: check the name at {page}{login}")
    if status == 403:
        return DataError(f"the hub forbids access to {repo}: see {page}, and check what your token may do")
    if status in (400, 404, 405, 410, 414, 422, 451):
        return DataError(f"the hub refuses {file or repo} (HTTP {status}): check the name at {page}")
    return None


def _gated(status: int, repo: str, page: str, has_token: bool) -> DataError:
    if status == 401 or not has_token:
        return DataError(f"{repo} needs a login: accept its licence at {page}, then {_LOG_IN}")
    return DataError(f"your account has not been granted access to {repo}: open {page} and accept its terms or ask")
