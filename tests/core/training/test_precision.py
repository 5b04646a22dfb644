"""bfloat16 only where the machine computes with it."""

import pytest
import torch

from recollect.training.precision import is_slower_in_half

from .conftest import Command, only_run, results

WITHOUT = {"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16"])
def test_a_cpu_without_the_instructions_is_slower(precision):
    assert is_slower_in_half(precision, "cpu", WITHOUT)


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16", "bf16", "sve_bf16"])
def test_any_of_the_instructions_will_do(instructions):
    assert not is_slower_in_half("bf16-mixed", "cpu", WITHOUT | {instructions: True})


@pytest.mark.parametrize("precision", [None, "32-true", 32, "bf16-true", "16-mixed"])
def test_no_other_precision_is_touched(precision):
    assert not is_slower_in_half(precision, "cpu", WITHOUT)


def test_only_where_the_cpu_computes(monkeypatch):
    assert not is_slower_in_half("bf16-mixed", "gpu", WITHOUT)
    for available in (True, False):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda available=available: available)
        assert is_slower_in_half("bf16-mixed", "auto", WITHOUT) is not available


@pytest.mark.parametrize("instructions", [True, False])
def test_a_run_says_so(tiny: Command, tmp_path, monkeypatch, instructions):
    known = WITHOUT | {"avx512_bf16": instructions}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    flags = ["--trainer.precision", "bf16-mixed", "--trainer.accelerator", "cpu"]
    tiny("fit", "--trainer.max_epochs", "1", *flags)
    notes = [note for note in results(only_run(tmp_path))["notes"] if "bfloat16" in note]
    assert len(notes) == (0 if instructions else 1)
