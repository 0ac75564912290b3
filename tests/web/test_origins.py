"""A page of another origin, opened in the same browser, can read nothing of the studio and change nothing in it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext
from studio_process import StudioProcess

CHANGES = {
    "/new": "name=stolen",
    "/p/pip": "name=Owned",
    "/p/pip/data/new": "role=user&content=hi&role=assistant&content=owned",
    "/p/pip/train": "epochs=1",
    "/p/pip/sweep": "temperature=0.1%2C0.2&prompts=1&which=base",
    "/p/pip/compare": "which=base&which=r1",
    "/p/pip/judge/begin": "contestants=r1&contestants=base&judge=Eve",
    "/p/pip/judge/j2/close": "",
    "/p/pip/export": "run=r1",
}
READ = """async (url) => {
  const seen = {};
  for (const mode of ['cors', 'no-cors']) {
    try {
      const answer = await fetch(url, { mode, credentials: 'include' });
      seen[mode] = (await answer.text()).slice(0, 200);
    } catch { seen[mode] = ''; }
  }
  const loads = (tag, src) => new Promise((done) => {
    const one = document.createElement(tag);
    one.onload = () => done(tag === 'iframe' ? readable(one) : 'loaded');
    one.onerror = () => done('');
    one.src = src;
    document.body.append(one);
    setTimeout(() => done(''), 1500);
  });
  const readable = (frame) => {
    try { return frame.contentDocument.body.innerText.slice(0, 200); } catch { return ''; }
  };
  seen.iframe = await loads('iframe', url + '/');
  seen.script = await loads('script', url + '/static/studio.js');
  seen.img = await loads('img', url + '/static/icon.svg');
  return seen;
}"""
CHANGE = """async ([url, body]) => {
  const said = [];
  for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'application/json'])
    for (const mode of ['no-cors', 'cors'])
      try { said.push((await fetch(url, { method: 'POST', mode, body, headers: { 'content-type': type } })).status); }
      catch { said.push(0); }
  const frame = document.createElement('iframe');
  frame.name = 'taken' + Math.random();
  document.body.append(frame);
  const form = document.createElement('form');
  form.method = 'post'; form.action = url; form.target = frame.name;
  for (const [name, value] of new URLSearchParams(body)) {
    const field = document.createElement('input');
    field.name = name; field.value = value;
    form.append(field);
  }
  document.body.append(form);
  const sent = new Promise((done) => { frame.onload = done; setTimeout(done, 1500); });
  form.submit();
  await sent;
  return said;
}"""


class _Blank(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another origin</title><body>another origin")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def another_port() -> Iterator[int]:
    """The port of a server that has nothing to do with the studio."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Blank)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def state_of(folder: Path, home: Path) -> dict[str, str]:
    """Everything that a change would change; reading may open the record, which touches its side files."""
    files = [path for root in (folder, home / "jobs") for path in root.rglob("*") if path.is_file()]
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not path.name.endswith(("-wal", "-shm", ".lock"))
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "elsewhere.example"])
def test_another_origin_reads_nothing_and_changes_nothing(
    host: str, studio: StudioProcess, filled: Path, another_port: int, context: BrowserContext
):
    own = context.new_page()  # the author has the studio open, as one would
    own.goto(f"{studio.url}/p/pip/data")
    before = state_of(filled, studio.home)
    page = context.new_page()
    page.goto(f"http://{host}:{another_port}/")
    assert page.title() == "another origin"

    for target in (studio.url, studio.url.replace("127.0.0.1", "localhost")):
        seen = page.evaluate(READ, target)
        assert not any(seen.values()), (target, seen)
    for path, body in CHANGES.items():
        answers = page.evaluate(CHANGE, [studio.url + path, body])
        assert not [status for status in answers if 200 <= status < 400], (path, answers)

    assert state_of(filled, studio.home) == before


def test_a_name_that_was_pointed_at_this_machine_is_refused(studio: StudioProcess, context: BrowserContext):
    """DNS rebinding: the page's own origin is then the studio's address, under another name."""
    page = context.new_page()
    answer = page.goto(f"http://elsewhere.example:{studio.port}/p/pip/data")

    assert answer is not None and answer.status == 403
    assert "pip" not in page.content().lower().replace("personatune", "")


def test_a_page_cannot_be_framed_by_another(studio: StudioProcess, another_port: int, context: BrowserContext):
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{another_port}/")
    framed = "(url) => { const one = document.createElement('iframe'); one.src = url; document.body.append(one); }"
    page.evaluate(framed, studio.url)
    page.wait_for_timeout(800)

    assert all("Personas" not in frame.content() for frame in page.frames[1:])
