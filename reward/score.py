"""The reward of one page: R = gate · (w_visual · s + w_interaction · i + w_format · c).

The gate is the zero rule: a page that cannot be parsed or does not render validly gets no reward.
"""

from reward.settings import ScoreSettings
from reward.validity import complaint
from rollout.records import Critique, Page, Render, Reward, Task


def score(page: Page, render: Render | None, critique: Critique | None, task: Task, settings: ScoreSettings) -> Reward:
    """Computes the reward in [0, 1] and its parts. Raises ValueError for a valid render without a critique."""
    form = float(page.format_ok)
    if page.html is None or render is None or not render.valid:
        kept = 0.0 if settings.zero_rule or page.html is None else settings.format * form
        return Reward(total=kept, gate=0, format=form, complaint=complaint(page, render))
    if critique is None:
        raise ValueError(f"task {task.id}: a page that renders validly needs a critique, got none")
    parts = [(settings.visual, critique.score), (settings.format, form)]
    interaction = None
    if task.probes:
        interaction = sum(result.held for result in render.probes) / len(task.probes)
        parts.append((settings.interaction, interaction))
    weight = sum(share for share, _ in parts)
    total = sum(share * value for share, value in parts) / weight
    return Reward(total=min(1.0, max(0.0, total)), gate=1, visual=critique.score, interaction=interaction, format=form)
