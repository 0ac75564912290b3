"""How servers are asked, as flags; and the model of a server that has only one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from personatune.cli.console import err
from personatune.generation.contestants import Asking
from personatune.generation.remote.address import Remote, is_remote

if TYPE_CHECKING:
    from personatune.generation.remote.server import Server


class ServerFlags(BaseModel):
    """How contestants are asked that a server answers for."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    parallel: int = Field(4, ge=1, le=64)
    """How many replies to ask a server for at once."""
    api_key_env: str | None = None
    """The environment variable that holds a server's API key; left out, PERSONATUNE_API_KEY."""

    def asking(self) -> Asking:
        """The same for those who open contestants; what servers do not take is said on stderr."""
        return Asking(self.parallel, self.api_key_env, said)


Servers = Annotated[ServerFlags, Parameter(name="*")]
"""The flags of a command that may ask servers."""
DEFAULT = ServerFlags()
"""As nobody said otherwise."""


def server(address: str, model: str, flags: ServerFlags) -> Server:
    """A server that the user names, with its model: its only one where the user names none.

    Raises `UsageError` for an address that is none, or that may not be asked, and `ModelError` for several models.
    """
    from personatune.generation.remote.server import Connection, Server

    named = Server(address, model, parallel=flags.parallel, key_name=flags.api_key_env)
    if not model:
        from personatune.generation.remote.engine import only

        connection = Connection(named)
        named = replace(named, model=only([one["id"] for one in connection.models()], connection))
        said(f"{address} has one model: {named.model}")
    return named


def said(text: str) -> None:
    """Tell the user something about a server."""
    err().print(f"note: {text}", style="yellow", soft_wrap=True, markup=False, highlight=False)


def with_model(which: str | None, key_name: str | None = None) -> str | None:
    """A contestant with its model named: a server's only one where the user named none, for which it is asked.

    Raises `ModelError` when the server has several or none.
    """
    if which is None or not is_remote(which):
        return which
    wanted = Remote.read(which)
    if not wanted.model:
        from personatune.generation.remote.engine import only
        from personatune.generation.remote.server import Connection, Server

        connection = Connection(Server(wanted.address, "", key_name=key_name, openai_key=False))
        wanted = replace(wanted, model=only([one["id"] for one in connection.models()], connection))
        said(f"{wanted.address} has one model: {wanted.model}")
    return wanted.which
