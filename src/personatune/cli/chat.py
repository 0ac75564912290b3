"""personatune chat: talk to a contestant in the terminal."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from personatune.export.voice import EngineChoice, Wish
from personatune.generation.params import GenerationParams
from personatune.models.device import DeviceChoice

app = App(name="personatune chat", version_flags=[])


@app.default
def chat(
    contestant: str,
    /,
    *,
    parameters: Annotated[GenerationParams, Parameter(name="*")] = GenerationParams(),  # noqa: B008
    model: str | None = None,
    device: DeviceChoice = "auto",
    engine: EngineChoice = "auto",
    api_key_env: str | None = None,
) -> int:
    """Talk to a run or to the untrained model; type /help inside. Every reply is kept with its seed.

    Parameters
    ----------
    contestant
        pip (its newest run), pip@r2, pip@base (untrained), pip@prompted (untrained, with a system prompt), or a
        model on a server: pip@remote:http://127.0.0.1:8080/v1#NAME.
    model
        The base model of pip@base and pip@prompted.
    device
        Where to compute; auto takes cuda, then mps, then cpu.
    engine
        What computes on the cpu: onnx is quick, starts soon, has 8-bit weights and is made at the first chat; torch
        computes as evaluations do. auto takes onnx where it can be had.
    api_key_env
        The environment variable that holds a server's API key; left out, PERSONATUNE_API_KEY.
    """
    from personatune.cli import chat_loop

    return chat_loop.run(contestant, parameters, Wish(model, device, engine, api_key_env))
