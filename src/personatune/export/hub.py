"""An export put on Hugging Face's hub because the author says so: private, unless told otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from personatune import settings
from personatune.errors import PersonatuneError, ResourceError, UsageError
from personatune.export.card import HERE
from personatune.export.export import Export
from personatune.export.staging import MANIFEST
from personatune.models.gguf_file import Stage
from personatune.persona import Persona

PREFIX = "hub:"
"""What stands before a name on the hub."""
_NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_Given = TypeVar("_Given")


@dataclass(frozen=True)
class Place:
    """Where an export goes, looked at before anything slow is done."""

    repo: str
    """The repository, as `owner/name`."""
    public: bool
    """Whether anybody can read it afterwards."""
    new: bool
    """Whether it has to be made."""
    endpoint: str
    """The hub's address."""

    @property
    def url(self) -> str:
        """Its page."""
        return f"{self.endpoint}/{self.repo}"


def name_of(text: str) -> str:
    """The name in `hub:NAME`. Raises `UsageError` for what is none."""
    name = text.removeprefix(PREFIX).strip()
    if not _NAME.fullmatch(name) or ".." in name or "--" in name or name.endswith((".git", ".", "-")):
        raise UsageError(f"{text[:100]!r} is no name on the hub", fix="write hub:NAME, or hub:OWNER/NAME for a group's")
    return name


def look(text: str, *, public: bool) -> Place:
    """Find out who we are on the hub and what is at the place, without changing anything.

    Raises `UsageError` when we are offline, or when the place holds something else or is seen by others than wanted,
    and `ResourceError` when there is no token or no answer.
    """
    name = name_of(text)
    if settings.is_offline():
        raise UsageError(
            f"{text} lies on Hugging Face, and no connection may be opened (--offline, or HF_HUB_OFFLINE is set)",
            fix="leave out --offline, or write the same files here: --to hf",
        )
    from huggingface_hub import constants, errors, get_token

    if not get_token():
        raise ResourceError(
            "Hugging Face does not know you here: there is no token",
            fix="hf auth login   with a token that may write, or set HF_TOKEN",
        )
    api = _api()
    who = _asked(api.whoami, constants.ENDPOINT, "asking who you are")
    repo = name if "/" in name else f"{who['name']}/{name}"
    try:
        there = _asked(lambda: api.repo_info(repo), constants.ENDPOINT, f"looking at {repo}")
    except _MissingError as error:
        if not isinstance(error.__cause__, errors.RepositoryNotFoundError):
            raise
        return Place(repo, public, True, constants.ENDPOINT)
    files = {one.rfilename for one in there.siblings or ()} - {".gitattributes", "README.md"}
    if files and MANIFEST not in files:
        raise UsageError(
            f"{repo} holds another model, which would be overwritten",
            fix="name a new one, as in: --to hub:my-character",
        )
    if bool(there.private) == public:
        seen = "private" if there.private else "public"
        raise UsageError(
            f"{repo} exists and is {seen}",
            fix=f"{'leave out' if there.private else 'add'} --public, or change that on "
            f"{constants.ENDPOINT}/{repo}/settings",
        )
    return Place(repo, public, False, constants.ENDPOINT)


def upload(persona: Persona, made: Export, place: Place, on_stage: Stage) -> str:
    """Put an `hf` export at the place; return the page of the commit. What lies there already is not sent again.

    Raises `ResourceError` when the hub refuses or cannot be reached; nothing is half there: files count with the commit
    that is sent last.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api = _api()
    if place.new:
        on_stage(f"making {place.repo}", 0.0)
        _asked(
            lambda: api.create_repo(place.repo, private=not place.public, exist_ok=True),
            place.endpoint,
            f"making {place.repo}",
        )
    whole = sum((made.folder / name).stat().st_size for name in made.manifest["files"]) or 1
    done, additions = 0, []
    for name in sorted(made.manifest["files"], key=lambda name: -(made.folder / name).stat().st_size):
        path = made.folder / name
        content: str | bytes = str(path)
        if name == "README.md":
            content = path.read_text(encoding="utf-8").replace(HERE, f'MODEL = "{place.repo}"').encode()
        addition = CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)
        on_stage(f"uploading {name}", done / whole)
        _asked(
            lambda addition=addition: api.preupload_lfs_files(place.repo, additions=[addition], free_memory=False),  # type: ignore[misc]
            place.endpoint,
            f"uploading {name}",
        )
        additions.append(addition)
        done += path.stat().st_size
    about = json.dumps(published(persona, made.manifest), indent=2, ensure_ascii=False).encode()
    additions.append(CommitOperationAdd(path_in_repo=MANIFEST, path_or_fileobj=about))
    gone = [] if place.new else _gone(api, place, {one.path_in_repo for one in additions})
    on_stage("writing the commit", 0.99)
    commit = _asked(
        lambda: api.create_commit(
            place.repo,
            operations=[*additions, *(CommitOperationDelete(path_in_repo=name) for name in gone)],
            commit_message=f"{made.manifest['persona']}@{made.manifest['run']}, written by personatune",
        ),
        place.endpoint,
        "writing the commit",
    )
    on_stage("ready", 1.0)
    return str(commit.commit_url)


def published(persona: Persona, manifest: dict[str, Any]) -> dict[str, Any]:
    """What of an export's manifest may be read by others: no path of this machine, no name of the author's files."""
    base, data = manifest.get("base_model") or {}, manifest.get("data") or {}
    kept = {name: value for name, value in manifest.items() if name not in ("beside", "peak_memory_bytes", "seconds")}
    is_path = Path(str(base.get("id", ""))).is_absolute() or str(base.get("id", "")).startswith((".", "~"))
    return {
        **kept,
        "base_model": {
            "id": Path(str(base.get("id"))).name if is_path else base.get("id"),
            "hash": base.get("hash"),
            "type": base.get("type"),
        },
        "data": {name: data[name] for name in ("version", "rows", "train", "heldout", "drafted") if name in data},
        "greeting": persona.character.greeting,
    }


def _gone(api: Any, place: Place, wanted: set[str]) -> list[str]:
    """What an earlier export left there that this one does not have."""
    there = _asked(lambda: api.list_repo_files(place.repo), place.endpoint, f"looking at {place.repo}")
    return sorted(set(there) - wanted - {".gitattributes"})


class _MissingError(ResourceError):
    """There is nothing at that place, or nothing that we may see."""


def _api() -> Any:
    from huggingface_hub import HfApi, constants

    return HfApi(endpoint=constants.ENDPOINT, library_name="personatune")


def _asked(ask: Callable[[], _Given], endpoint: str, doing: str) -> _Given:
    """Ask the hub; what goes wrong, in plain words. Raises `ResourceError`."""
    from huggingface_hub import errors

    try:
        return ask()
    except PersonatuneError:
        raise
    except errors.RepositoryNotFoundError as error:
        raise _MissingError(
            f"{doing}: the hub knows no such place, or your token may not see it",
            where=endpoint,
            fix="check the name; a token that may write: hf auth login",
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        said = " ".join((getattr(error, "server_message", None) or str(error)).split())[:200]
        raise ResourceError(
            f"{doing}: the hub says no (HTTP {status}): {said}", where=endpoint, fix=_fix(status)
        ) from error
    except Exception as error:  # httpx, hf_xet and threads have errors of their own, mostly around one of these
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
        status = getattr(getattr(cause, "response", None), "status_code", 0)
        said = " ".join(str(cause).split())[:200] or type(cause).__name__
        raise ResourceError(f"{doing}: {said}", where=endpoint, fix=_fix(status)) from error


def _fix(status: int) -> str:
    if status in (401, 403):
        return "hf auth login   with a token that may write to this place"
    if status in (413, 507):
        return "look at the storage that your account has left"
    return "check the connection, then run the same command again: what is there already is not sent twice"
