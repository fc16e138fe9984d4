"""Tests of the run files in `deploy/runs`: the memory suffices, and the stated step times are the computed ones."""

import re
from pathlib import Path

import pytest

from cluster.plan import from_shape, known_gpu, main
from cluster.planning.devices import cached_tokens, device_needs
from cluster.settings import load_settings
from cluster.training.bottleneck import forecast
from cluster.training.metrics import pool_sizes
from learner.model_costs.shape import FAMILY

FOLDER = Path(__file__).parents[3] / "deploy" / "runs"
FILES = sorted(FOLDER.glob("qwen*.toml"))
COMMAND = re.compile(r'relook plan (\S+) --gpu (?:"([^"]+)"|(\S+)) --shape (\S+)(?: --judge-shape (\S+))?')
STEP = re.compile(r"# A step takes (\d+) s \(play (\d+), learn (\d+), sync (\d+)\), and the memory suffices\.")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_run_file_states_its_computed_step_and_fits(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named, quoted, bare, model, judge = COMMAND.findall(text)[0]
    assert named == f"deploy/runs/{path.name}"
    assert "Computed, not measured" in text
    gpu, shape, settings = known_gpu(quoted or bare), FAMILY[model], load_settings(path)
    assert bool(judge) == bool(settings.judge.model)
    needs = device_needs(settings, shape, gpu.gib, FAMILY.get(judge))
    assert [str(need) for need in needs if not need.fits] == []
    assert any(need.what.startswith("judge") for need in needs) == bool(judge)
    costs, _ = from_shape(settings, shape, gpu)
    step = forecast(costs, pool_sizes(settings), settings.max_staleness)
    stated = STEP.search(text)
    assert stated
    wanted = [step.step_s, step.play_s, step.learn_s, step.sync_s]
    assert [float(seconds) for seconds in stated.groups()] == pytest.approx(wanted, abs=0.51)


def test_the_documented_steps_are_those_of_the_files() -> None:
    table = (FOLDER.parents[1] / "docs" / "gpu.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"\| `deploy/runs/(\S+)` \|.*\| (\d+) s \|", table))
    stated = {path.name: found[1] for path in FILES if (found := STEP.search(path.read_text(encoding="utf-8")))}
    assert documented == stated


def test_run_files_cover_the_usual_machines() -> None:
    settings = {path.stem: load_settings(path) for path in FILES}
    shared = {name for name, one in settings.items() if one.shares_gpus}
    assert shared == {"qwen1.5b-24gb", "qwen3b-80gb", "qwen7b-lora-80gb"}
    assert all(settings[name].policy.sleep_level and settings[name].transfer == "ipc" for name in shared)
    assert all(one.transfer == "nccl" for name, one in settings.items() if name not in shared)


def test_an_engine_that_does_not_sleep_takes_the_memory_of_an_update() -> None:
    settings = load_settings(FOLDER / "qwen3b-80gb.toml")
    awake = settings.model_copy(update={"policy": settings.policy.model_copy(update={"sleep_level": 0})})
    gpu, shape = known_gpu("H100"), FAMILY["qwen2.5-3b"]
    assert [need.what for need in device_needs(awake, shape, gpu.gib) if not need.fits] == [
        "shared GPU during an update"
    ]


def test_a_model_that_is_too_large_has_no_cache() -> None:
    settings = load_settings(FOLDER / "qwen1.5b-24gb.toml")
    assert cached_tokens(settings, FAMILY["qwen2.5-72b"], 23.6) == 0
    assert not all(need.fits for need in device_needs(settings, FAMILY["qwen2.5-72b"], 23.6))


def test_plan_prints_memory_and_fails_if_it_does_not_suffice(capsys: pytest.CaptureFixture[str]) -> None:
    run = [str(FOLDER / "qwen7b.toml"), "--gpu", "H100"]
    assert main([*run, "--shape", "qwen2.5-7b"]) == 0
    shown = capsys.readouterr().out
    assert "computed, not measured" in shown
    assert "learner rank" in shown
    assert main([*run, "--shape", "qwen2.5-72b"]) == 1
    assert "DOES NOT FIT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpu", "Voodoo"], "--gpu 'Voodoo' is not known; known are H100"),
        (["--gpu", "H100"], "model 'builtin' has no known dimensions; give --shape"),
        (["--gpu", "H100", "--shape", "huge"], "--shape 'huge' is not known"),
    ],
)
def test_unknown_gpus_and_models_are_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(FOLDER / "qwen7b.toml"), *options]) == 2
    assert message in capsys.readouterr().err
