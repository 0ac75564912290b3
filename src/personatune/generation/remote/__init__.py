"""Contestants at an address: any server that speaks OpenAI's chat completions, asked only when the user names it."""

from personatune.generation.remote.address import REMOTE as REMOTE
from personatune.generation.remote.address import Remote as Remote
from personatune.generation.remote.address import is_loopback as is_loopback
from personatune.generation.remote.address import is_remote as is_remote
from personatune.generation.remote.engine import RemoteEngine as RemoteEngine
from personatune.generation.remote.server import Server as Server
