"""Models from strangers: what they claim is refused before it is allocated, and nothing of theirs runs."""

from __future__ import annotations

import json
import re
import struct
import tracemalloc
from importlib.util import find_spec
from pathlib import Path

import pytest

from personatune.errors import ModelError
from personatune.models.limits import refuse_gguf, refuse_unreasonable
from personatune.models.resolve import read_config, resolve

SOURCE = Path(find_spec("personatune").submodule_search_locations[0])
CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 16, "hidden_size": 4,
    "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
}  # fmt: skip


def weights(count: int = 400) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * count)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors").write_bytes(weights())
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


def sparse(path: Path, size: int, beginning: bytes = b"{") -> None:
    with path.open("wb") as file:
        file.write(beginning)
        file.truncate(size)


def claims(**keys):
    return lambda folder: (folder / "config.json").write_text(json.dumps(CONFIG | keys))


HOSTILE = {
    "a hidden size of a milliard": (claims(hidden_size=10**9), "hidden_size"),
    "a vocabulary of a milliard": (claims(vocab_size=10**9), "vocab_size"),
    "layers without end": (claims(num_hidden_layers=10**8), "num_hidden_layers"),
    "a size in a part": (claims(text_config={"hidden_size": 10**12}), "hidden_size"),
    "a negative size": (claims(hidden_size=-(10**9)), "hidden_size"),
    "a number past all numbers": (claims(hidden_size=float("inf")), "hidden_size"),
    "more weights than the files hold": (claims(vocab_size=200_000, hidden_size=4_096), "weights"),
    "a header of 10^18 bytes": (
        lambda folder: (folder / "model.safetensors").write_bytes(struct.pack("<Q", 10**18) + b"{}" * 50),
        "model.safetensors",
    ),
    "tensors of 10^18 bytes": (
        lambda folder: (folder / "model.safetensors").write_bytes(weights().replace(b"1600]", b"9" * 18 + b"]")),
        "model.safetensors",
    ),
    "a tokenizer of gigabytes": (lambda folder: sparse(folder / "tokenizer.json", 5 << 30), "tokenizer.json"),
    "a config of gigabytes": (lambda folder: sparse(folder / "config.json", 5 << 30), "config.json"),
    "a template of gigabytes": (lambda folder: sparse(folder / "chat_template.jinja", 5 << 30), "chat_template"),
    "deep nesting": (
        lambda folder: (folder / "config.json").write_text('{"a":' + "[" * 200_000 + "]" * 200_000 + "}"),
        "config.json",
    ),
    "weights elsewhere": (
        lambda folder: (folder / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"w": "../../home/secret.safetensors"}})
        ),
        "none of this folder",
    ),
    "pickled weights in the index": (
        lambda folder: (folder / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"w": "pytorch_model.bin"}})
        ),
        "none of this folder",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_cannot_be_is_refused_in_little_memory(model: Path, kind: str):
    spoil, named = HOSTILE[kind]
    refuse_unreasonable(model)
    spoil(model)
    tracemalloc.start()
    with pytest.raises(ModelError) as caught:
        refuse_unreasonable(model)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    assert named in str(caught.value)
    assert caught.value.fix


def test_deep_nesting_is_no_traceback_where_the_config_is_read(model):
    (model / "config.json").write_text('{"a":' + "[" * 200_000 + "]" * 200_000 + "}")
    with pytest.raises(ModelError):
        read_config(model)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickled_weights_are_refused_unread(model, name):
    (model / "model.safetensors").unlink()
    (model / name).write_bytes(b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(ModelError, match="unpickling can run anything"):
        resolve(str(model))


@pytest.mark.parametrize(
    "head",
    [b"GGUF", struct.pack("<4sIQQ", b"GGUF", 3, 10**18, 5), struct.pack("<4sIQQ", b"GGUF", 3, 5, 2**63)],
)
def test_a_gguf_file_that_promises_too_much_is_refused(tmp_path, head):
    path = tmp_path / "model.gguf"
    path.write_bytes(head + bytes(200 if len(head) > 4 else 0))
    with pytest.raises(ModelError, match="cannot be what it claims"):
        refuse_gguf(path)


def test_nothing_unpickles_and_no_code_of_a_model_is_run():
    """numpy's own arrays apart, which are read with allow_pickle=False."""
    forbidden = re.compile(
        r"torch\.load\(|\bimport pickle|from pickle|cPickle|\bdill\b|joblib|\.read_pickle|allow_pickle=True"
        r"|trust_remote_code=True|weights_only=False|use_safetensors=False|yaml\.(unsafe_)?load\(|\beval\(|\bexec\("
    )
    found = [
        f"{path.relative_to(SOURCE)}:{number}: {line.strip()}"
        for path in SOURCE.rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if forbidden.search(line) and "yaml.load(text, Loader=" not in line and not line.lstrip().startswith("#")
    ]
    found = [line for line in found if ".eval(" not in line]  # a model's, which only says that it is not trained
    assert found == []


def with_header(folder: Path, header: dict[str, object], octets: int = 72) -> None:
    raw = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(octets))


@pytest.mark.parametrize(
    "places",
    [((0, 64), (32, 72)), ((0, 64), (0, 72)), ((0, 60), (64, 72)), ((-8, 64), (64, 72)), ((64, 0), (64, 72)),
     ((0, 64), (64, float("inf"))), ((0, 64), (64, 1 << 70))],
)  # fmt: skip
def test_tensors_lie_beside_one_another_in_the_file(model: Path, places):
    tensors = zip("wv", ([16], [2]), places, strict=True)
    with_header(model, {n: {"dtype": "F32", "shape": shape, "data_offsets": place} for n, shape, place in tensors})
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        refuse_unreasonable(model)


def test_a_tensor_fills_its_place(model: Path):
    with_header(model, {"w": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 72]}})
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        refuse_unreasonable(model)


def test_a_number_of_hundreds_of_digits_is_refused(model: Path):
    claims(vocab_size=10**400)(model)
    with pytest.raises(ModelError, match="vocab_size"):
        refuse_unreasonable(model)


@pytest.mark.parametrize("architectures", [[1], "Llama", {"a": 1}, [None], [["CausalLM"]]])
def test_architectures_that_are_no_names_are_refused(model: Path, architectures):
    claims(architectures=architectures)(model)
    with pytest.raises(ModelError, match="architectures"):
        read_config(model)


def test_no_file_is_a_link_to_one_outside(model: Path, tmp_path_factory):
    secret = tmp_path_factory.mktemp("home") / "secret"
    secret.write_text("a key")
    (model / "chat_template.jinja").symlink_to(secret)
    with pytest.raises(ModelError, match="link") as caught:
        refuse_unreasonable(model)
    assert caught.value.fix


def test_links_within_the_hubs_cache_and_to_weights_are_fine(model: Path, tmp_path_factory):
    cache = tmp_path_factory.mktemp("models--a--b")
    (cache / "blobs").mkdir()
    folder = cache / "snapshots" / "abc"
    folder.mkdir(parents=True)
    for at, path in enumerate(sorted(model.iterdir())):
        path.rename(cache / "blobs" / str(at))
        (folder / path.name).symlink_to(Path("../../blobs") / str(at))
    refuse_unreasonable(folder)

    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(CONFIG))
    (model / "model.safetensors").symlink_to((folder / "model.safetensors").resolve())
    refuse_unreasonable(model)


def test_a_packed_tokenizer_is_not_unpacked_without_end(model: Path, monkeypatch):
    import gzip

    from personatune.models import light_tokenizer

    monkeypatch.setitem(light_tokenizer.LARGEST, "tokenizer.json", 1 << 20)
    (model / "tokenizer.json").unlink()
    (model / "tokenizer.json.gz").write_bytes(gzip.compress(bytes(64 << 20)))
    tracemalloc.start()
    with pytest.raises(ModelError, match="tokenizer"):
        light_tokenizer.LightTokenizer(model)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
