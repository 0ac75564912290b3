"""What a user writes to mean a model on a server: `remote:http://127.0.0.1:8080/v1#gemma`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from personatune.errors import UsageError

REMOTE = "remote:"
"""What a contestant that a server answers for begins with, after the @."""
COMPLETIONS = "/chat/completions"
_PLAIN = "/:.,+=~()[]"
_AS_IN = "as in: remote:http://127.0.0.1:8080/v1#gemma"
_SYSTEM = {"persona": True, "none": False}


@dataclass(frozen=True)
class Remote:
    """A contestant that a server answers for."""

    address: str
    """The address up to `/v1`."""
    model: str
    """The model's name there; empty for the only one."""
    directed: bool = True
    """Whether it is given the persona's system prompt, as `prompted` is."""

    @classmethod
    def read(cls, which: str) -> Remote:
        """From `remote:ADDRESS?system=none#MODEL`. Raises `UsageError` for what is none."""
        rest, _, model = which.strip().removeprefix(REMOTE).partition("#")
        address, asked, query = rest.partition("?")
        directed = True
        if asked:
            said = parse_qsl(query, keep_blank_values=True)
            if [name for name, _ in said] != ["system"] or said[0][1] not in _SYSTEM:
                raise UsageError(
                    "behind the ? of a server stands nothing but system=none",
                    fix="?system=none leaves the persona's system prompt out; a key goes into PERSONATUNE_API_KEY",
                )
            directed = _SYSTEM[said[0][1]]
        model = unquote(model)
        if any(not sign.isprintable() for sign in model):
            raise UsageError("the model's name holds signs that cannot be printed", fix=_AS_IN)
        return cls(checked(address, _AS_IN).removesuffix(COMPLETIONS), model, directed)

    @property
    def which(self) -> str:
        """The same, written in one way, without any sign that means something else in a reference."""
        system = "" if self.directed else "?system=none"
        return f"{REMOTE}{self.address}{system}#{quote(self.model, safe=_PLAIN)}"


def is_remote(which: str | None) -> bool:
    """Whether a contestant, as what stands after the @, is answered by a server."""
    return which is not None and which.startswith(REMOTE)


def checked(address: str, fix: str) -> str:
    """The address that chat completions are asked at. Raises `UsageError`, with `fix`, for what is none."""
    try:
        parts = urlsplit(address.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(sign.isspace() or not sign.isascii() or not sign.isprintable() for sign in address.strip()):
        # Whatever it is, it may hold a password.
        shown = repr(address) if "@" not in address else "what stands there"
        raise UsageError(f"{shown} is not the address of a server", fix=fix)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise UsageError(
            "the address may hold no name, no key and no query", fix=f"{fix}, and the key in PERSONATUNE_API_KEY"
        )
    if "@" in address:
        raise UsageError("the address may hold no @", fix=fix)
    return address.strip().rstrip("/").removesuffix(COMPLETIONS) + COMPLETIONS


def is_loopback(address: str) -> bool:
    """Whether an address is that of this machine."""
    host = (urlsplit(address).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
