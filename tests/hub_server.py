"""Stands in for Hugging Face's hub on this machine: as much of its HTTP API as exports and downloads ask for.

Made after huggingface_hub 2.4 (whoami-v2, repos/create, models, tree, preupload, LFS batch, basic transfer, commit,
resolve). Xet, which the real hub prefers for large files, is not spoken.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_of_the_test"


@dataclass
class Repo:
    """One repository."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        """Its newest commit."""
        return hashlib.sha1(f"{len(self.commits)}{sorted(self.files)}".encode()).hexdigest()


class Hub:
    """What is on it, and what it was asked."""

    def __init__(self) -> None:
        self.address = ""
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.puts = 0
        self.refuse: Callable[[str, str], tuple[int, dict[str, Any]] | None] = lambda _method, _path: None

    def is_asked(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        """From here on this is the hub and `folder` its cache, as HF_ENDPOINT and HF_HOME would have it elsewhere."""
        from huggingface_hub import constants

        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, self.address)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "ENDPOINT", self.address)
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        patch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "PERSONATUNE_OFFLINE"):
            patch.delenv(name, raising=False)
        patch.setenv("HF_TOKEN", TOKEN)


Answer = tuple[int, bytes, dict[str, str]]


def _json(value: Any, status: int = 200, **headers: str) -> Answer:
    return status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers}


def _missing(what: str = "RepoNotFound") -> Answer:
    return _json({"error": "Repository not found"}, 404, **{"X-Error-Code": what})


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """A hub on a free port of this machine."""
    hub = Hub()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._do("GET")

        def do_HEAD(self) -> None:
            self._do("HEAD")

        def do_POST(self) -> None:
            self._do("POST")

        def do_PUT(self) -> None:
            self._do("PUT")

        def _do(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(urlsplit(self.path).path)
            known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            with lock:
                hub.asked.append((method, path))
                refused = hub.refuse(method, path)
                answer = _json(refused[1], refused[0]) if refused else _answer(hub, method, path, body, known)
            status, content, headers = answer
            with suppress(OSError):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if method != "HEAD":
                    self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(hub: Hub, method: str, path: str, body: bytes, known: bool) -> Answer:
    if path.startswith("/objects/"):
        oid = path.removeprefix("/objects/")
        if hashlib.sha256(body).hexdigest() != oid:
            return _json({"error": "the content is not what was announced"}, 422)
        hub.objects[oid], hub.puts = body, hub.puts + 1
        return 200, b"", {}
    if path == "/api/whoami-v2":
        return _json({"name": "somebody", "type": "user"}) if known else _json({"error": "Invalid token"}, 401)
    if path == "/api/repos/create":
        if not known:
            return _json({"error": "Unauthorized"}, 401)
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'somebody'}/{asked['name']}"
        if name in hub.repos:
            return _json({"error": "exists", "url": f"{hub.address}/{name}"}, 409)
        private = asked.get("private") is True or asked.get("visibility") == "private"
        hub.repos[name] = Repo(private, {".gitattributes": b"*.safetensors filter=lfs\n"})
        return _json({"url": f"{hub.address}/{name}", "name": name, "id": name})
    if path == "/api/validate-yaml":
        faults = _faults_of(json.loads(body)["content"])
        return _json({"errors": faults, "warnings": []}, 400 if faults else 200)
    if found := re.fullmatch(r"/([^/]+/[^/]+?)\.git/info/lfs/objects/batch", path):
        return _batch(hub, json.loads(body))
    if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(.+))?", path):
        repo = hub.repos.get(found[1])
        if repo is None or (repo.private and not known):
            return _missing()
        return _of_repo(hub, found[1], repo, found[2] or "", body)
    if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
        repo = hub.repos.get(found[1])
        if repo is None or (repo.private and not known):
            return _missing()
        content = repo.files.get(found[3])
        if content is None:
            return _missing("EntryNotFound")
        headers = {"X-Repo-Commit": repo.sha, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        return 200, content, {**headers, "Content-Length": str(len(content)), "Accept-Ranges": "none"}
    return _json({"error": f"nothing at {path}"}, 404)


def _faults_of(card: str) -> list[dict[str, str]]:
    """What the hub would say of a card's front matter: what it checks, as far as it says so."""
    import yaml

    about = yaml.safe_load(card.split("---\n")[1])
    bases = about.get("base_model", [])
    bases = bases if isinstance(bases, list) else [bases]
    faults = [f"base_model {base!r} is no model id" for base in bases if not re.fullmatch(r"[\w.-]+/[\w.-]+", base)]
    if not isinstance(about.get("license"), str):
        faults.append("there is no license")
    return [{"message": fault} for fault in faults]


def _batch(hub: Hub, asked: dict[str, Any]) -> Answer:
    objects = []
    for one in asked["objects"]:
        upload = {"upload": {"href": f"{hub.address}/objects/{one['oid']}", "header": {}}}
        objects.append({**one, **({} if one["oid"] in hub.objects else {"actions": upload})})
    return _json({"transfer": "basic", "objects": objects})


def _of_repo(hub: Hub, name: str, repo: Repo, rest: str, body: bytes) -> Answer:
    if rest == "" or rest.startswith("revision/"):
        siblings = [{"rfilename": file} for file in sorted(repo.files)]
        about = {"id": name, "modelId": name, "sha": repo.sha, "private": repo.private, "siblings": siblings}
        return _json({**about, "tags": [], "downloads": 0, "likes": 0})
    if rest.startswith("tree/"):
        return _json([_entry(path, content) for path, content in sorted(repo.files.items())])
    if rest.startswith("preupload/"):
        asked = json.loads(body)["files"]
        return _json(
            {
                "files": [
                    {
                        "path": one["path"],
                        "uploadMode": "lfs" if one["path"].endswith((".safetensors", "tokenizer.json")) else "regular",
                        "shouldIgnore": False,
                        "oid": None,
                    }
                    for one in asked
                ]
            }
        )
    if rest.startswith("commit/"):
        return _commit(hub, name, repo, body)
    return _json({"error": f"nothing at {rest}"}, 404)


def _entry(path: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


def _commit(hub: Hub, name: str, repo: Repo, body: bytes) -> Answer:
    files = dict(repo.files)
    for line in body.splitlines():
        told = json.loads(line)
        value = told["value"]
        if told["key"] == "header":
            summary = value["summary"]
        elif told["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif told["key"] == "lfsFile":
            if value["oid"] not in hub.objects:
                return _json({"error": f"{value['path']} was never sent"}, 400)
            files[value["path"]] = hub.objects[value["oid"]]
        elif told["key"] == "deletedFile":
            files.pop(value["path"], None)
    repo.files = files
    repo.commits.append(summary)
    return _json(
        {
            "success": True,
            "commitUrl": f"{hub.address}/{name}/commit/{repo.sha}",
            "commitOid": repo.sha,
            "hookOutput": "",
        }
    )
