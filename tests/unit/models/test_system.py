"""The look at the machine: it names what is missing with its remedy, tells no secret, and never fails itself."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest

from personatune.errors import ResourceError
from personatune.models import machine, system
from personatune.models.device import Compute
from personatune.models.starter import STARTERS

SECRET = "hf_doNotShowMe"


def fake_torch(*, cuda=False, mps=False, built_for=None):
    return SimpleNamespace(
        __version__="2.13.0",
        version=SimpleNamespace(cuda=built_for, hip=None),
        cuda=SimpleNamespace(is_available=lambda: cuda),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
    )


class Metadata:
    """Installed distributions, as importlib.metadata tells of them."""

    PackageNotFoundError = PackageNotFoundError

    def __init__(self):
        self.installed = {"personatune": "0.1.0", "torch": "2.13.0"} | dict.fromkeys(system._PACKAGES, "5.23.0")
        self.required = ["transformers<6,>=5.20; extra == 'train'", "rich<16,>=14"]

    def version(self, name):
        if name not in self.installed:
            raise PackageNotFoundError(name)
        return self.installed[name]

    def requires(self, name):
        self.version(name)
        return self.required


@pytest.fixture(autouse=True)
def distributions(monkeypatch, tmp_path):
    """A healthy machine without a hub and without starters."""
    found = Metadata()
    monkeypatch.setattr(system, "metadata", found)
    monkeypatch.setattr(system, "choose", lambda: Compute("cpu", "bf16", "2 CPU threads"))
    monkeypatch.setattr(system, "missing", lambda starter: [name for name, _ in starter.distributions])
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(machine, "free_disk", lambda _folder: 100e9)
    monkeypatch.setattr(machine, "is_translated", lambda: False)
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setenv("PERSONATUNE_HOME", str(tmp_path / "cache"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return found


def checks(**asked):
    report = system.examine_system(**asked)
    return {check.name: check for check in report.checks}


def hub(monkeypatch, head=None, endpoint="https://hub.example"):
    constants = SimpleNamespace(HF_HUB_CACHE="/cache/hub", ENDPOINT=endpoint)
    session = SimpleNamespace(head=head)
    there = SimpleNamespace(constants=constants, get_token=lambda: None, get_session=lambda: session)
    monkeypatch.setitem(sys.modules, "huggingface_hub", there)


def test_a_healthy_machine_has_no_problems_and_nothing_was_left_behind(tmp_path):
    found = checks()

    assert not [check for check in found.values() if check.status == "problem"]
    assert found["training takes"].found == "cpu in bf16 (2 CPU threads)"
    assert found["transformers"].found == "5.23.0"
    assert list(tmp_path.iterdir()) == []


def test_no_torch_is_a_problem_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = checks()

    assert (found["torch"].status, found["torch"].fix) == ("problem", system.INSTALL_TRAIN)
    assert found["training takes"].status == "note"


@pytest.mark.parametrize(
    "fault",
    [
        OSError("libcudart.so.12: cannot open shared object file\nmore"),
        ImportError("DLL load failed"),
        RuntimeError(""),
        ModuleNotFoundError("No module named 'numpy'", name="numpy"),
    ],
)
def test_a_torch_that_cannot_be_loaded_is_a_problem_with_the_reason(monkeypatch, fault):
    def broken(_name):
        raise fault

    monkeypatch.setattr(system.importlib, "import_module", broken)
    found = checks()

    assert found["torch"].status == "problem"
    assert type(fault).__name__ in found["torch"].found
    assert str(fault).split("\n")[0] in found["torch"].found
    assert "reinstall" in found["torch"].fix


@pytest.mark.parametrize(("built_for", "words"), [(None, "built without CUDA"), ("13.0", "cannot use it")])
def test_a_gpu_that_torch_does_not_see_is_noticed(monkeypatch, built_for, words):
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: True)
    monkeypatch.setitem(sys.modules, "torch", fake_torch(built_for=built_for))

    assert checks()["torch"].status == "note"
    assert words in checks()["torch"].found


def test_a_gpu_that_torch_sees_is_said(monkeypatch):
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: True)
    monkeypatch.setitem(sys.modules, "torch", fake_torch(cuda=True, built_for="13.0"))

    assert checks()["torch"].status == "ok"
    assert checks()["torch"].found == "2.13.0, built for CUDA 13.0; GPU: cuda"


def test_packages_that_are_missing_or_old_are_problems(distributions):
    del distributions.installed["peft"]
    distributions.installed["transformers"] = "4.57.1"
    found = checks()

    assert (found["peft"].status, found["peft"].fix) == ("problem", system.INSTALL_TRAIN)
    assert found["transformers"].status == "problem"
    assert "4.57.1, but personatune needs transformers<6,>=5.20" in found["transformers"].found


def test_a_torch_that_is_too_old_is_a_problem(distributions):
    distributions.required.append("torch>=2.14; extra == 'train'")

    assert checks()["torch"].status == "problem"
    assert checks()["torch"].found == "2.13.0, but personatune needs torch>=2.14"


def test_a_source_checkout_is_examined_too(distributions):
    del distributions.installed["personatune"]

    assert checks()["personatune"].found.startswith("not installed")
    assert checks()["transformers"].status == "ok"


def test_a_device_that_cannot_be_had_names_its_way_out(monkeypatch):
    def refuse():
        raise ResourceError("no cuda device", fix="--device cpu")

    monkeypatch.setattr(system, "choose", refuse)
    check = checks()["training takes"]

    assert (check.status, check.found, check.fix) == ("problem", "no cuda device", "--device cpu")


def test_starters_say_how_to_get_them_and_where_they_stand(monkeypatch, tmp_path):
    first, second = STARTERS.values()
    found = checks()
    assert (found[f"starter/{first.name}"].status, found[f"starter/{first.name}"].fix) == ("note", first.install)

    monkeypatch.setattr(system, "missing", lambda starter: [] if starter == second else ["one part"])
    found = checks()
    assert "1 of its 4 packages are missing" in found[f"starter/{first.name}"].found
    assert found[f"starter/{second.name}"].found.startswith("installed; the first use prepares it")

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(bytes(1 << 20))
    monkeypatch.setattr(system, "is_ready", lambda _name: True)
    monkeypatch.setattr(system, "resolve", lambda _name: SimpleNamespace(folder=tmp_path / "model"))
    assert checks()[f"starter/{second.name}"].found == "ready in the cache, 0.0 GB"
    assert "no longer installed" in checks()[f"starter/{first.name}"].found


def test_a_cache_that_cannot_be_written_to_is_a_problem(monkeypatch):
    def refused(_folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine, "write_trial", refused)

    assert checks()["cache folder"].status == "problem"
    assert "PERSONATUNE_HOME" in checks()["cache folder"].fix


@pytest.mark.parametrize(("free", "status"), [(100e9, "ok"), (1e9, "note"), (1e8, "problem")])
def test_little_disk_is_said(monkeypatch, free, status):
    monkeypatch.setattr(machine, "free_disk", lambda _folder: free)

    assert checks()["disk, here"].status == status


def test_no_secret_is_told(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    hub(monkeypatch, endpoint=f"https://me:{SECRET}@hub.example")
    sys.modules["huggingface_hub"].get_token = lambda: SECRET
    sys.modules["huggingface_hub"].get_session().head = lambda *_, **__: SimpleNamespace(status_code=200)
    report = system.examine_system(ask_network=True)

    assert SECRET not in report.model_dump_json()
    assert {check.name: check for check in report.checks}["hub token"].found == "set, in HF_TOKEN"


def test_the_network_is_left_alone_unless_asked(monkeypatch):
    hub(monkeypatch, head=lambda *_, **__: pytest.fail("asked the network"))

    assert checks()["hub connection"].found == "not asked; use --network"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert checks(ask_network=True)["hub connection"].found == "not asked: the offline switch is on"
    assert checks()["offline switch"].found.startswith("on")


def test_the_hub_is_asked_once_and_briefly(monkeypatch):
    asked = []

    def head(url, *, timeout):
        asked.append((url, timeout))
        return SimpleNamespace(status_code=200)

    hub(monkeypatch, head)
    assert checks(ask_network=True)["hub connection"].status == "ok"
    assert asked == [("https://hub.example", 3.0)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [(TimeoutError("timed out"), "cannot be reached: TimeoutError: timed out"), (403, "answers 403")],
)
def test_a_hub_that_cannot_be_reached_is_a_note(monkeypatch, answer, words):
    def head(_url, *, timeout):
        assert timeout
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(status_code=answer)

    hub(monkeypatch, head)
    check = checks(ask_network=True)["hub connection"]

    assert check.status == "note"
    assert words in check.found


def test_without_the_hub_library_nothing_is_asked():
    assert checks(ask_network=True)["hub connection"].fix == system.INSTALL_TRAIN


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (system, "_version"), (system, "choose"), (system, "missing"), (system, "is_ready"),
        (system.psutil, "virtual_memory"), (system.settings, "cache_folder"), (system.settings, "is_offline"),
        (system.platform, "platform"), (machine, "cpu_model"), (machine, "cores"),
        (machine, "bf16_instructions"), (machine, "free_disk"), (machine, "write_trial"),
        (machine, "has_nvidia_driver"), (machine, "is_translated"),
    ],
)  # fmt: skip
def test_no_probe_can_break_the_report(monkeypatch, module, name):
    def break_(*_args, **_options):
        raise RuntimeError("out of order")

    monkeypatch.setattr(module, name, break_)
    report = system.examine_system()

    assert any("out of order" in check.found for check in report.checks)
    assert report.checks[-1].name == "terminal"


def test_a_terminal_without_unicode_is_noticed(monkeypatch):
    monkeypatch.setattr(system.sys, "stdout", SimpleNamespace(encoding="ANSI_X3.4-1968"))

    assert checks()["terminal"].status == "note"
