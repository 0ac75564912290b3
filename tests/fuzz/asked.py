"""Fuzzing the studio by its own OpenAPI, with schemathesis. `asked.py SECONDS FOLDER`."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import trial  # finds the package, and gives the cache folder a place of its own

sys.dont_write_bytecode = True
os.environ["PERSONATUNE_OFFLINE"] = "1"

import schemathesis  # noqa: E402
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from personatune.generation.contestant import Contestant  # noqa: E402
from personatune.generation.scripted import ScriptedEngine  # noqa: E402
from personatune.persona import Persona  # noqa: E402
from personatune.studio.app import create_app  # noqa: E402
from personatune.studio.security import TOKEN_HEADER, Gate  # noqa: E402
from personatune.studio.studio import Studio  # noqa: E402
from personatune.studio.voices import Tell  # noqa: E402
from whole_persona import whole_persona  # noqa: E402

PAGES = Path(sys.modules["personatune.studio.app"].__file__ or "").parent / "pages"
TOKEN = "a-token-that-only-our-own-pages-can-know"
ADDRESS = "http://127.0.0.1:7788"
LONGEST = 20.0
_NO_END = ("/events", "/stream", "/train/estimate")
"""Answers that go on until the page is left, and a process that computes for minutes."""
_FIELD = re.compile(r'(?:form, |form\.get\(|getlist\(|fields?\[)"(\w+)"')
_NAMES = ("dot", "r1", "r2", "j1", "c1", "s1", "e1", "d1", "p1", "left", "right", "tie", "1", "0", "-1", "model.bin",
          "..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "dot/../dot", "r1\0", "C:\\x", "",
          "\ud7ff", "9" * 400, "http://127.0.0.1:9/v1", "<script>", "starter/gemma3-270m", "temperature", "nan",
          "1e999", "{}")  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree", "os.truncate")


def document(app: Any) -> dict[str, Any]:
    """The studio's OpenAPI; forms, which it does not describe, with the fields that their pages read."""
    made: dict[str, Any] = app.openapi()
    value = {"anyOf": [{"enum": list(_NAMES)}, {"type": "string"}, {"type": "integer"}]}
    made["paths"] = {path: given for path, given in made["paths"].items() if not path.endswith(_NO_END)}
    for path, methods in made["paths"].items():
        page = next((one for one in PAGES.glob("*.py") if f"/{one.stem}" in path), PAGES / "persona.py")
        fields = {"token": value} | dict.fromkeys(_FIELD.findall(page.read_text("utf-8")), value)
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                known = [{"enum": ["dot"]}] * 3 if parameter["name"] == "persona" else []
                parameter["schema"] = {"anyOf": [*known, parameter.get("schema", {}), value]}
            if method == "post":
                body = {"schema": {"type": "object", "properties": fields, "additionalProperties": value}}
                operation["requestBody"] = {"content": {"application/x-www-form-urlencoded": body}}
    return made


class Outside:
    """Hears of every file that is written outside of one folder."""

    def __init__(self, inside: Path) -> None:
        self._inside, self.seen = str(inside), set[str]()
        self.hears = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.hears:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
            return
        if event == "open" or event in _CHANGES:
            place = arguments[0]
            if isinstance(place, bytes | str) and not self._is_ours(os.path.abspath(os.fsdecode(place))):
                self.seen.add(f"{event} {os.fsdecode(place)}")

    def _is_ours(self, place: str) -> bool:
        return place.startswith(self._inside) or place in ("/dev/null", tempfile.gettempdir()) or ".hypothesis" in place


def main(seconds: float, folder: Path) -> int:
    end, found, counts, answers = time.monotonic() + seconds, 0, Counter[str](), Counter[int]()
    with tempfile.TemporaryDirectory(prefix="fuzz-studio-") as scratch:
        inside = Path(scratch).resolve() / "a" / "b" / "c"
        (inside / "home").mkdir(parents=True)
        os.environ["PERSONATUNE_HOME"] = str(inside / "home")
        whole_persona(inside / "workspace" / "dot")
        studio = Studio.at(inside / "workspace", open_voice=_scripted, jobs=inside / "jobs")
        app = create_app(studio, Gate(7788, TOKEN))
        operations = [one.ok() for one in schemathesis.openapi.from_dict(document(app)).get_all_operations()]
        outside = Outside(inside)
        with TestClient(app, base_url=ADDRESS, follow_redirects=False, raise_server_exceptions=False) as client:

            def told(name: str, what: str, sent: object) -> None:
                nonlocal found
                finding = trial.Finding(f"studio {name.replace('/', '_')}", what, "-", repr(sent).encode())
                if finding.keep(folder):
                    found += 1
                    print(f"{name}: {what}", file=sys.stderr, flush=True)

            def ask(operation: Any, until: float) -> None:
                name = f"{operation.method.upper()} {operation.path}"

                @settings(max_examples=30, deadline=None, database=None, phases=[Phase.generate],
                          suppress_health_check=list(HealthCheck))  # fmt: skip
                @given(
                    operation.as_strategy(),
                    st.sampled_from(("ours", "ours", "ours", "ours", "no token", "foreign")),
                    st.lists(st.sampled_from(_NAMES), min_size=3, max_size=3),
                    st.integers(0, 15),
                )
                def once(case: Any, who: str, names: list[str], known: int) -> None:
                    if time.monotonic() > until:
                        return
                    for at, key in enumerate(case.path_parameters or {}):  # what is there is asked for more often
                        if known:
                            case.path_parameters[key] = "dot" if key == "persona" else names[at] or "r1"
                    headers = {} if who == "no token" else {TOKEN_HEADER: TOKEN}
                    origin = {"origin": "http://evil.example" if who == "foreign" else ADDRESS}
                    sent = case.as_transport_kwargs(base_url=ADDRESS)
                    sent = {key: sent[key] for key in ("method", "url", "params", "data", "json") if sent.get(key)}
                    began, outside.hears = time.thread_time(), True
                    try:
                        answer = client.request(**sent, headers=headers | origin)
                    except Exception as error:
                        if type(error).__module__.startswith(("httpx", "h11")):
                            return  # a request that cannot be sent
                        told(name, f"{type(error).__name__}: {error}", sent)
                        return
                    finally:
                        outside.hears = False
                    counts[name] += 1
                    answers[answer.status_code] += 1
                    text = answer.text[:1_000_000] if "zip" not in answer.headers.get("content-type", "") else ""
                    if answer.status_code >= 500 and (answer.status_code != 503 or "fix" not in text.lower()):
                        told(name, f"{answer.status_code}: {re.sub('<[^>]*>', ' ', text)[-900:]}", sent)
                    if "Traceback (most recent" in text:
                        told(name, "a traceback in the answer", sent)
                    if who == "foreign" and answer.status_code != 403:
                        told(name, f"a page of another origin got {answer.status_code}", sent)
                    if who == "no token" and operation.method == "post" and answer.status_code != 403:
                        token = str(sent.get("data", {}))
                        if TOKEN not in token:
                            told(name, f"without a token it answered {answer.status_code}", sent)
                    if time.thread_time() - began > LONGEST:
                        told(name, f"takes over {LONGEST:.0f} s", sent)
                    for place in outside.seen:
                        told(name, f"written outside of the workspace: {place}", sent)
                    outside.seen.clear()

                once()

            each = max(0.3, min(5.0, seconds / len(operations) / 1.5))
            while time.monotonic() < end:
                for operation in operations:
                    if time.monotonic() < end:
                        ask(operation, min(end, time.monotonic() + each))
                if not (inside / "workspace" / "dot" / "persona.toml").is_file():
                    told("everything", "the persona is gone", "")
                    break
        for thread in threading.enumerate():
            if thread.name == "data check":
                thread.join(60)
    print(json.dumps({"fuzzer": "schemathesis", "inputs": counts, "answers": answers, "findings": found}))
    return 1 if found else 0


def _scripted(persona: Persona, which: str, _tell: Tell) -> Contestant:
    return Contestant(f"{persona.name}@{which}", ScriptedEngine(lambda request: f"{which} heard you"))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), Path(sys.argv[2])))
