"""Tests of the run settings: one-line errors, overrides, defaults, and imports without heavy packages."""

import subprocess
import sys
from pathlib import Path

import pytest

from actors.settings import FULL_PAGE_HEIGHT
from cluster.settings import RunSettings, load_settings
from rollout.errors import SettingsError

SERVED = '[critic]\nkind = "http"\nmodel = "j"'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[learner]\nlearning_rate = 1", "unknown setting 'learner.learning_rate'"),
        ("group_sise = 4", "unknown setting 'group_sise'; did you mean 'group_size'?"),
        ("[learner]\nlr = -1e-4", "learner.lr: .* got -0.0001"),
        ("group_size = 1", "group_size: .* got 1"),
        ('[task]\nsource = "nowhere.jsonl"', "task.source must be 'builtin' or an existing file, got 'nowhere.jsonl'"),
        ('model = "nowhere"', "model must be 'builtin' or a directory with a config.json, got 'nowhere'"),
        (
            "[learner]\nlength_limit = 400\n[episode]\nmax_tokens = 512",
            r"learner.length_limit must be episode.max_tokens \(512\) where it is set, got 400",
        ),
        (
            '[episode]\nrevision = "edits"\n[learner]\ndistill_form = "hindsight"',
            "learner.distill_form is 'hindsight', .* give distill_form = 'words', or episode.revision = 'page'",
        ),
        (
            '[policy]\ntransfer = "nccl"',
            "policy.transfer is 'nccl', but cluster.policy_gpus is 0 and learner_gpus 0: .* whole GPUs, or 'ipc'",
        ),
        (
            '[policy]\ntransfer = "nccl"\n[cluster]\npolicy_gpus = 0.5\nlearner_gpus = 0.5',
            "policy_gpus is 0.5 and learner_gpus 0.5: NCCL joins no two processes on one GPU",
        ),
        ('[policy]\ntransfer = "gloo"\n[cluster]\npolicy_gpus = 1', "gloo is for engines without GPUs, give 'nccl'"),
        (
            '[policy]\ntransfer = "ipc"\nengines = 2\n[cluster]\npolicy_gpus = 0.5\nlearner_gpus = 0.5',
            "with 2 engines of 1 GPUs and 1 ranks: ipc wants shares of one GPU, .* as many engines as ranks",
        ),
        ("max_staleness = 1\n[policy]\nsleep_level = 1", "policy.sleep_level is 1, but max_staleness is 1"),
        (
            "[policy]\nsleep_level = 2\n[cluster]\npolicy_gpus = 1\nlearner_gpus = 1",
            "policy.sleep_level is 2, but no engine shares a GPU with a learner rank",
        ),
        (
            '[critic]\nkind = "http"\nmodel = "j"',
            "critic.base_url must be .* or judge.model the directory .* got neither",
        ),
        ('[judge]\nmodel = "m"', "judge.model is served for critics of kind 'http' .* got kind 'visual'"),
        (
            SERVED + '\nbase_url = "http://host/v1"\n[judge]\nmodel = "m"',
            "without base_url and key, .* got .* 'http://host/v1'",
        ),
        (SERVED + "\n[judge]\nmodel = 'm'\ncount = 2", r"critic.count must be at least judge.count \(2\), got 1"),
        (SERVED + "\n[judge]\nmodel = 'm'\nstart_timeout_s = 900", r"wanted at most cluster.start_timeout_s \(600\)"),
        (SERVED + "\n[judge]\nmodel = 'm'\n[cluster]\njudge_gpus = 4", "judge_gpus is 4 .* judge.tensor_parallel .1"),
        ("steps = ", "not readable as TOML"),
    ],
)
def test_invalid_setting_gives_one_line_that_names_the_field(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_overrides_are_applied_and_checked(tmp_path: Path) -> None:
    path = write(tmp_path, "steps = 3")
    settings = load_settings(path, ["learner.lr=1e-4", "name=other", "episode.rounds=0"])
    assert (settings.learner.lr, settings.name, settings.episode.rounds, settings.steps) == (1e-4, "other", 0, 3)
    for wrong in ("learner.lr", "steps.more=1", "nope=1"):
        with pytest.raises(SettingsError):
            load_settings(path, [wrong])


@pytest.mark.parametrize(
    ("policy_gpus", "learner_gpus", "engines", "wanted"),
    [
        (0, 0, 1, "shared_memory"),
        (1, 1, 4, "nccl"),
        (2, 1, 1, "nccl"),
        (1, 0, 1, "shared_memory"),
        (0.5, 0.5, 1, "ipc"),
        (0.5, 0.5, 2, "shared_memory"),
        (0.5, 1, 1, "shared_memory"),
    ],
)
def test_default_weight_transfer_follows_from_the_gpu_shares(
    tmp_path: Path, policy_gpus: float, learner_gpus: float, engines: int, wanted: str
) -> None:
    gpus = [f"cluster.policy_gpus={policy_gpus}", f"cluster.learner_gpus={learner_gpus}"]
    settings = load_settings(write(tmp_path, ""), [*gpus, f"policy.engines={engines}"])
    assert settings.transfer == wanted
    assert load_settings(write(tmp_path, ""), [*gpus, 'policy.transfer="shared_memory"']).transfer == "shared_memory"


def test_every_shipped_settings_file_is_valid() -> None:
    files = sorted(Path("deploy/runs").glob("*.toml"))
    assert files
    for path in files:
        load_settings(path)


def test_settings_and_help_import_no_heavy_package() -> None:
    heavy = "{'torch', 'ray', 'vllm', 'deepspeed', 'playwright', 'mlflow', 'transformers'}"
    code = f"import sys, cluster.settings, cluster.train; print(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_full_page_images_are_on_with_a_multimodal_critic() -> None:
    asked = {"kind": "http", "base_url": "http://judge:8000/v1", "model": "judge"}
    judged, mixed = {"critic": asked}, {"critic": {"also": {"judge": asked}}}
    assert RunSettings().renderer.full_page_height == 0
    for values in (judged, mixed):
        assert RunSettings.model_validate(values).renderer.full_page_height == FULL_PAGE_HEIGHT
    off = RunSettings.model_validate({**judged, "browser": {"full_page_height": 0}})
    assert off.renderer.full_page_height == 0
    assert off.renderer == off.browser
