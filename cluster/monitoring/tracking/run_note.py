"""The description of a run in MLflow: results before and after training, reasons and files, in Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NOTE_TAG = "mlflow.note.content"
FILES = "`report.html`, `summary.json` and `episodes.json` are under *Artifacts*, held-out pages under *Images*."


def run_note(summary: Mapping[str, Any], exams: Sequence[Mapping[str, float]], reasons: Sequence[str]) -> str:
    """Markdown of a run from its summary, the rows of its exams (`exam_row`) and lines that explain the result."""
    held_out, inference = summary["held_out"], summary["inference"]
    lines = [f"**{summary['status']} after {summary['steps']} steps** ({summary['seconds']['total']:.0f} s)", ""]
    lines += ["| held-out pages | before | after |", "|---|---|---|"]
    lines += [
        _row("reward", held_out["reward_before"], held_out["reward_after"]),
        _row("valid share", held_out["valid_before"], held_out["valid_after"]),
        _row("valid share in training", summary["valid_render_rate"]["first"], summary["valid_render_rate"]["last"]),
    ]
    if table := [f"{name} {values['reward']:.3f}" for name, values in inference.items() if values]:
        lines += ["", f"Inference on held-out tasks: {', '.join(table)}."]
    gains = [row for row in exams if "gain" in row]
    if gains:
        last = gains[-1]
        lines += ["", f"Last exam (step {last['step']:.0f}): gain {last['gain']:+.3f} "
                  f"[{last['low']:+.3f}, {last['high']:+.3f}], 95 % interval, {held_out['tasks']} tasks."]  # fmt: skip
    lines += ["", *(f"- {reason}" for reason in (*_reasons(summary), *reasons) if reason), "", FILES]
    return "\n".join(lines)


def final_scores(summary: Mapping[str, Any]) -> dict[str, float]:
    """The results of a finished run as metrics with one value each."""
    held_out = summary["held_out"]
    scores = {"reward": held_out["reward_after"], "valid_share": held_out["valid_after"]}
    if held_out["reward_before"] is not None:
        scores["reward_gain"] = held_out["reward_after"] - held_out["reward_before"]
    scores |= {f"inference_{name}": row.get("reward") for name, row in summary["inference"].items()}
    return {f"final/{name}": float(value) for name, value in scores.items() if value is not None}


def _reasons(summary: Mapping[str, Any]) -> Iterator[str]:
    signal, episodes = summary["signal"], summary["episodes"]
    if signal["steps_without"]:
        yield f"steps without a signal: {signal['steps_without']} of {summary['steps']}"
    if episodes["machine_faults"]:
        yield f"{episodes['machine_faults']} machine faults, {episodes['dropped']} episodes dropped"
    yield f"accepted {summary['forced_optimization']['accept_rate']:.0%} of the revisions"
    yield f"{summary['throughput']['pages_per_s']:.2f} pages/s, {summary['throughput']['tokens_per_s']:.0f} tokens/s"


def _row(name: str, before: float | None, after: float | None) -> str:
    shown = ["–" if value is None else f"{value:.3f}" for value in (before, after)]
    return f"| {name} | {shown[0]} | {shown[1]} |"
