#!/usr/bin/env bash
# One run of ReLook under Slurm: a learner node, a policy node and browser nodes, as one Ray cluster.
#
#   sbatch deploy/slurm.sh deploy/runs/qwen7b.toml --set runs=/shared/runs --set model=/shared/models/…
#
# A run that serves its own judge (deploy/runs/qwen7b-judged.toml) needs a fourth part: before `set`, add a hetjob line as
# below, and a line like that of the second part, for a node with four GPUs.
#
# RELOOK_ENV is the path of the Python environment (default: .venv). All arguments are passed to cluster.train.
#SBATCH --job-name=relook
#SBATCH --output=relook-%j.log
#SBATCH --signal=B:TERM@120
#SBATCH --nodes=1 --ntasks-per-node=1 --cpus-per-task=48 --gpus-per-node=4
#SBATCH hetjob
#SBATCH --nodes=1 --ntasks-per-node=1 --cpus-per-task=24 --gpus-per-node=4
#SBATCH hetjob
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=16
set -euo pipefail

source "${RELOOK_ENV:-.venv}/bin/activate"
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
# A secret of this job, only in the environment of its steps: other jobs can neither join nor control the cluster.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

head=$(scontrol show hostnames "${SLURM_JOB_NODELIST_HET_GROUP_0:-$SLURM_JOB_NODELIST}" | head -n 1)
address=$(getent ahostsv4 "$head" | awk 'NR == 1 {print $1}')
port=$((20000 + SLURM_JOB_ID % 10000))
cluster="$address:$port"

# Starts a Ray node on every machine of a part of the job; its resources determine which actors Ray places there.
join() {
    local part=$1
    shift
    srun --het-group="$part" --export=ALL --kill-on-bad-exit=1 ray start --block "$@" &
}

# A separate folder: /tmp/ray may belong to another user, and its address file would lead other jobs to this cluster.
join 0 --head --node-ip-address="$address" --port="$port" --dashboard-host=127.0.0.1 --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
    --num-cpus=48 --num-gpus=4 --resources='{"learner": 4}'
for try in $(seq 60); do
    ray health-check --address "$cluster" 2>/dev/null && break
    if ((try == 60)); then
        echo "relook: no Ray head at $cluster after two minutes; see its output above" >&2
        exit 1
    fi
    sleep 2
done
join 1 --address="$cluster" --num-cpus=24 --num-gpus=4 --resources='{"policy": 4}'
# No CPUs: Ray must place nothing else next to the pages, which are untrusted programs.
join 2 --address="$cluster" --num-cpus=0 --resources='{"browser": 8}'
if ((${SLURM_HET_SIZE:-3} > 3)); then
    join 3 --address="$cluster" --num-cpus=24 --num-gpus=4 --resources='{"judge": 1}'
fi

# The driver runs on the head's machine. It saves the run on TERM, which Slurm sends two minutes before the time limit;
# `--resume RUN` continues.
RAY_ADDRESS="$cluster" python -m cluster.train \
    --set cluster.browser_cpus=0 --set cluster.placement_timeout_s=600 "$@" &
run=$!
trap 'kill -TERM "$run"' TERM
code=0
wait "$run" || code=$?
# The trap interrupted `wait`: the run is still saving its state.
while kill -0 "$run" 2>/dev/null; do
    code=0
    wait "$run" || code=$?
done
jobs -p | xargs --no-run-if-empty kill 2>/dev/null || true
wait || true
exit "$code"
