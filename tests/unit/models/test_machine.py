from __future__ import annotations

import os
import platform

import pytest

from personatune.models import machine

INTEL = "processor\t: 0\nmodel name\t: Some CPU: fast\nflags\t\t: fpu avx512_bf16 amx_bf16 sse\n\nflags\t: of another\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"


@pytest.fixture
def cpuinfo(monkeypatch):
    def tell(text):
        monkeypatch.setattr(platform, "system", lambda: "Linux")
        monkeypatch.setattr(machine.Path, "read_text", lambda _path, **_options: text)

    return tell


def test_an_intel_processor(cpuinfo):
    cpuinfo(INTEL)
    assert machine.cpu_model() == "Some CPU: fast"
    assert machine.bf16_instructions() == {"avx512_bf16", "amx_bf16"}


def test_an_arm_processor_has_flags_and_no_name(cpuinfo):
    cpuinfo(ARM)
    assert machine.bf16_instructions() == {"bf16"}
    assert machine.cpu_model()


def test_an_old_processor_and_an_unknown_system(cpuinfo, monkeypatch):
    cpuinfo("flags : fpu sse\n")
    assert machine.bf16_instructions() == set()

    def absent(*_args, **_options):
        raise FileNotFoundError

    monkeypatch.setattr(machine.Path, "read_text", absent)
    assert machine.bf16_instructions() is None
    assert machine.cpu_model()


def test_a_mac(monkeypatch):
    told = {"machdep.cpu.brand_string": "Apple M4", "hw.optional.arm.FEAT_BF16": "1", "sysctl.proc_translated": "1"}
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(machine, "sysctl", told.get)

    assert machine.cpu_model() == "Apple M4"
    assert machine.bf16_instructions() == {"FEAT_BF16"}
    assert machine.is_translated()


def test_a_folder_that_is_not_there_yet_is_measured_where_it_will_be(tmp_path):
    there = tmp_path / "a" / "b"
    machine.write_trial(there)

    assert machine.free_disk(there) > 0
    assert list(tmp_path.iterdir()) == []


def test_the_size_of_a_folder_counts_linked_files_once(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(bytes(1000))
    os.link(tmp_path / "in" / "a", tmp_path / "b")
    (tmp_path / "c").write_bytes(bytes(24))

    assert machine.folder_size(tmp_path) == 1024


def test_cores():
    physical, usable = machine.cores()
    assert usable >= 1
    assert physical is None or physical >= 1
