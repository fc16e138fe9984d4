"""The reference page of a task: rendered, and refused where it does not render. Nobody else renders references."""

from rollout.errors import TaskFileError
from rollout.ports import Renderer
from rollout.records import Page, Render, Task


async def render_reference(task: Task, renderer: Renderer) -> Render | None:
    """The render of a task's reference page, which renderers cache by content; None for a task without one.

    Raises TaskFileError for a page that does not render: nothing can be compared with it.
    """
    if task.reference_html is None:
        return None
    render = await renderer.render(Page(html=task.reference_html), (), task.viewports)
    if not render.valid:
        raise TaskFileError(
            f"task {task.id}: its reference page must render, but it is {why(render)}; mend or remove the task"
        )
    return render


def why(render: Render) -> str:
    """What is wrong with a render, on one line. Example: `'exception' (ReferenceError: tailwind is not defined)`."""
    detail = " ".join(render.detail.split())
    return f"{render.outcome!r} ({detail})" if detail else repr(render.outcome)
