"""What `optix-tricks compile` prints; the compilers are those of CPUs here."""

import re

import jax
import pytest

from optix_tricks import ahead
from tests.cli.command import run


@pytest.fixture
def on_cpus(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(ahead, "compile_only_devices", lambda target: jax.devices()[:4])
    return tmp_path / "optix_tricks" / "compiled"


def test_it_prints_what_a_step_costs_and_compiles_it_once(on_cpus, capsys):
    command = "compile", "digits", "--for", "h100:4", "--width", "2", "--with", "sam"
    code, out, err = run(capsys, *command, "--mesh", "2")
    assert code == 0, err
    assert re.search(r"of a step\W+on each of 2\W", out)
    assert re.search(r"examples\W+32\W", out)
    assert re.search(r"all-reduce\W+\d+, [\d.]+ kB", out)
    assert re.search(r"roofline estimate\W+[\d.e-]+ ms, bound by memory", out)
    assert "Compiled, not run." in out
    [kept] = on_cpus.iterdir()
    code, again, _ = run(capsys, *command, "--mesh", "2")
    assert "compiling" in out
    assert "compiling" not in again
    assert [*on_cpus.iterdir()] == [kept]
    table = out.index("┏")
    assert out[table:] == again[again.index("┏") :]


def test_pictures_of_a_size_need_no_data(on_cpus, capsys):
    code, out, err = run(
        capsys, "compile", "cifar10_resnet9", "--for=v5e:2x2", "--width", "2",
        "--image-size", "16", "--classes", "10", "--batch-size", "8", "--packed",
    )  # fmt: skip
    assert code == 0, err
    assert re.search(r"examples\W+2\W", out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digits"], "compile needs --for TARGET: h100,"),
        (["digits", "--for"], "compile needs --for TARGET: h100,"),
        (
            ["digits", "--for", "h100:4", "--mesh", "5"],
            "from 1 to the target's 4 devices",
        ),
        (
            ["digits", "--for", "h100:4", "--mesh", "3"],
            "multiple of the 3 devices, got 64",
        ),
        (["digits", "--for", "h100:4", "--with", "nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_is_one_sentence(on_cpus, capsys, arguments, said):
    code, _, err = run(capsys, "compile", *arguments)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_an_unknown_target_is_wrong_usage(capsys):
    code, _, err = run(capsys, "compile", "digits", "--for", "a100")
    assert code == 2
    assert "target must be h100" in err
