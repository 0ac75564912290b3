"""Where the studio of the tests is, and what its pages know."""

from __future__ import annotations

ADDRESS = "http://127.0.0.1:7788"
TOKEN = "a-token-that-only-our-own-pages-can-know"
