"""Checks settings of different packages against each other.

Each check is a pure function of all settings and raises ValueError with one line that names the settings, the values
and the fix. `cluster.settings` runs them; it has already checked each value on its own.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from actors.mirror.folder import INDEX

if TYPE_CHECKING:
    from cluster.settings import RunSettings


def check_together(settings: "RunSettings") -> None:
    """Raises ValueError for the first combination of settings that cannot work."""
    check_judge_timeouts(settings)
    check_engine_nodes(settings)
    check_weight_transfer(settings)
    check_sleep(settings)
    check_served_judge(settings)
    check_files(settings)
    check_length_limit(settings)
    check_distilled_revisions(settings)


def check_judge_timeouts(settings: "RunSettings") -> None:
    """A judge's deadline must end before the call to its critic times out."""
    longest = max((judge.deadline_s for judge in settings.critic.members.values() if judge.kind == "http"), default=0.0)
    if longest >= settings.cluster.call_timeout_s:
        raise ValueError(
            f"critic.deadline_s is {longest:g}, wanted less than cluster.call_timeout_s "
            f"({settings.cluster.call_timeout_s:g}): else a critic that is still patient counts as lost"
        )


def check_engine_nodes(settings: "RunSettings") -> None:
    """An engine on several nodes must have the same number of workers on each, and receive weights by broadcasts."""
    policy, gpus = settings.policy, settings.cluster.policy_gpus
    if policy.nodes == 1:
        return
    has = f"policy.nodes is {policy.nodes}"
    if policy.tensor_parallel % policy.nodes:
        raise ValueError(
            f"{has}, but policy.tensor_parallel is {policy.tensor_parallel}: give a multiple of policy.nodes, as each "
            "node has the same number of GPUs"
        )
    if gpus not in (0, policy.tensor_parallel):
        raise ValueError(
            f"{has}, but cluster.policy_gpus is {gpus:g}, wanted policy.tensor_parallel ({policy.tensor_parallel}): "
            "it counts the GPUs of all nodes of an engine"
        )
    if settings.transfer not in ("gloo", "nccl"):
        raise ValueError(
            f"{has}, but policy.transfer is {settings.transfer!r}, which reaches one node: give 'nccl' and whole GPUs "
            "for engines and learner, or 'gloo' without GPUs"
        )


def check_weight_transfer(settings: "RunSettings") -> None:
    """A given transfer method must suit the GPUs of engines and learner ranks."""
    transfer, policy, learner = settings.policy.transfer, settings.cluster.policy_gpus, settings.cluster.learner_gpus
    has = f"policy.transfer is {transfer!r}, but cluster.policy_gpus is {policy:g} and learner_gpus {learner:g}"
    if transfer == "gloo" and policy:
        raise ValueError(f"{has}: gloo is for engines without GPUs, give 'nccl' or 'shared_memory'")
    if transfer == "nccl" and not settings.cluster.whole_gpus:
        raise ValueError(f"{has}: NCCL joins no two processes on one GPU, give both whole GPUs, or 'ipc'")
    if transfer == "ipc" and not settings.shares_gpus:
        raise ValueError(
            f"{has}, with {settings.policy.engines} engines of {settings.policy.tensor_parallel} GPUs and "
            f"{settings.learner.ranks} ranks: ipc wants shares of one GPU, together at most 1, as many engines as "
            "ranks, and policy.tensor_parallel = 1"
        )


def check_sleep(settings: "RunSettings") -> None:
    """Engines that sleep must share GPUs with the learner, and must have nothing to generate meanwhile."""
    level = settings.policy.sleep_level
    if not level:
        return
    if settings.max_staleness:
        raise ValueError(
            f"policy.sleep_level is {level}, but max_staleness is {settings.max_staleness}: engines that sleep during "
            "an update generate nothing meanwhile, give max_staleness = 0 or sleep_level = 0"
        )
    if settings.cluster.policy_gpus and not settings.shares_gpus:
        raise ValueError(
            f"policy.sleep_level is {level}, but no engine shares a GPU with a learner rank (cluster.policy_gpus is "
            f"{settings.cluster.policy_gpus:g}, learner_gpus {settings.cluster.learner_gpus:g}): give sleep_level = 0"
        )


def check_served_judge(settings: "RunSettings") -> None:
    """Critics of kind `http` need a server; a judge served by the run must match the critics that call it."""
    critic, judge, gpus = settings.critic, settings.judge, settings.cluster.judge_gpus
    asking = critic.served
    if not judge.model:
        if asking:
            raise ValueError(
                "critic.base_url must be the http or https address of a server when critic.kind is 'http', "
                "or judge.model the directory of a model that the run is to serve; got neither"
            )
        return
    if len({one.model for one in asking}) != 1 or any(one.key_env for one in asking):
        got = "; ".join(
            f"kind {one.kind!r}, base_url {one.base_url!r}, model {one.model!r} and key_env {one.key_env!r}"
            for one in critic.members.values()
        )
        raise ValueError(
            f"judge.model is served for critics of kind 'http' without base_url and key, of one name; got {got}"
        )
    if critic.count < judge.count:
        raise ValueError(f"critic.count must be at least judge.count ({judge.count}), got {critic.count}")
    if judge.start_timeout_s > settings.cluster.start_timeout_s:
        most = f"wanted at most cluster.start_timeout_s ({settings.cluster.start_timeout_s:g})"
        raise ValueError(f"judge.start_timeout_s is {judge.start_timeout_s:g}, {most}")
    if gpus > 0 and max(1.0, gpus) != judge.tensor_parallel:
        wanted = f"wanted its judge.tensor_parallel ({judge.tensor_parallel})"
        raise ValueError(f"cluster.judge_gpus is {gpus:g} for each judge, {wanted}")


def check_files(settings: "RunSettings") -> None:
    """Task files, model directory and library mirror must exist."""
    for field, value in (("task.source", settings.task.source), ("task.held_out", settings.task.held_out)):
        if value != "builtin" and not Path(value).is_file():
            raise ValueError(f"{field} must be 'builtin' or an existing file, got {value!r}")
    if settings.model != "builtin" and not (Path(settings.model) / "config.json").is_file():
        raise ValueError(f"model must be 'builtin' or a directory with a config.json, got {settings.model!r}")
    if settings.browser.mirror is not None and not (settings.browser.mirror / INDEX).is_file():
        made = "python -m cluster.mirror build"
        raise ValueError(f"browser.mirror must be a folder that `{made}` made, got {str(settings.browser.mirror)!r}")


def check_length_limit(settings: "RunSettings") -> None:
    """The length limit of the learner must be that of the episodes."""
    limit, most = settings.learner.length_limit, settings.episode.max_tokens
    if limit not in (None, most):
        raise ValueError(f"learner.length_limit must be episode.max_tokens ({most}) where it is set, got {limit}")


def check_distilled_revisions(settings: "RunSettings") -> None:
    """Revisions that are distilled into first pages must be whole pages."""
    learner = settings.learner
    if settings.episode.revision == "edits" and learner.distill_weight > 0 and learner.distill_form == "hindsight":
        raise ValueError(
            "learner.distill_form is 'hindsight', which trains on revisions as first pages, but episode.revision is "
            "'edits': give distill_form = 'words', or episode.revision = 'page'"
        )
