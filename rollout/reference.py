"""Renders the reference pages of tasks and rejects invalid ones. Only this module renders references."""

from rollout.errors import TaskFileError
from rollout.ports import Renderer
from rollout.records import Page, Render, Task


async def render_reference(task: Task, renderer: Renderer) -> Render | None:
    """Returns the render of a task's reference page (cached by content); None for a task without one.

    Raises TaskFileError when the page does not render: nothing can be compared with it.
    """
    render = await _render(task, renderer)
    if render is not None and not render.valid:
        raise TaskFileError(
            f"task {task.id}: its reference page must render, but it is {_why(render)}; fix or remove the task"
        )
    return render


async def reference_fault(task: Task, renderer: Renderer) -> str:
    """Why a task's reference page does not render; empty if it renders or there is none."""
    render = await _render(task, renderer)
    return "" if render is None or render.valid else _why(render)


async def _render(task: Task, renderer: Renderer) -> Render | None:
    if task.reference_html is None:
        return None
    return await renderer.render(Page(html=task.reference_html), (), task.viewports)


def _why(render: Render) -> str:
    """Formats a failed outcome on one line, because the detail is text of the page.

    Example: `'exception' (ReferenceError: tailwind is not defined)`.
    """
    detail = " ".join("".join(letter if letter.isprintable() else " " for letter in render.detail).split())
    return f"{render.outcome!r} ({detail})" if detail else repr(render.outcome)
