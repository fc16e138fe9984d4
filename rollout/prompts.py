"""Builds the policy's prompts as messages: first page, revision, and self-review.

The engine's tokenizer converts messages to ids with its chat template. The built-in policy's template omits the system
message, because that policy was trained on the conventions it states.
"""

from collections.abc import Sequence

from rollout.edits import Edit, show
from rollout.records import Message, Page, Task

GET_FEEDBACK = "<get_feedback/>"
"""Marker that ends a page and requests a render and a critique."""
REVIEW = "<review/>"
"""Marker that asks the policy to criticise its own page."""
END_FEEDBACK = "</feedback>"

PAGE_STOP = (GET_FEEDBACK,)
REVIEW_STOP = (END_FEEDBACK,)

NO_LIBRARIES = "There is no network: no external style, script, font or picture will load."
LIBRARIES = """These libraries and fonts load from their usual public CDN addresses (jsdelivr, unpkg, cdnjs, esm.sh,
Google Fonts): {libraries}.
Nothing else loads from the network: no other style, script, font or picture."""
WHOLE_PAGE = "When you are shown <feedback>, write the whole improved page in the same form."
EDITS = f"""When you are shown <feedback>, change your page instead: think briefly as before, then write one block for
each change, then {GET_FEEDBACK} and nothing more. A block is
{show([Edit(search=("lines of the page that you replace",), replace=("the lines that replace them",))])}
Copy the SEARCH lines exactly: whole lines, with their indentation. They must occur in the page only once; copy lines
around them if they do not. To delete lines, write nothing between ======= and >>>>>>> REPLACE.
The blocks are applied in order."""
"""Replaces the sentence WHOLE_PAGE in the prompt of a revision that is to be written as edits."""
SYSTEM = Message(
    role="system",
    content=f"""You write complete, self-contained web pages: one HTML document with its style and script inline.
{NO_LIBRARIES}
Think briefly between <think> and </think>, then write the whole page in one ```html block, then {GET_FEEDBACK}
and nothing more. {WHOLE_PAGE}
When you are shown {REVIEW}, say what is wrong with your page instead: at most five short lines that begin
with "- ", worst first, between <feedback> and {END_FEEDBACK}.""",
)


def answer(html: str, thought: str = "") -> str:
    """Formats a page as an answer of the policy."""
    think = f"<think>{thought}</think>\n" if thought else ""
    return f"{think}```html\n{html}\n```\n{GET_FEEDBACK}"


def edit_answer(edits: Sequence[Edit], thought: str = "") -> str:
    """Formats edits of the shown page as an answer of the policy."""
    think = f"<think>{thought}</think>\n" if thought else ""
    return f"{think}{show(edits)}\n{GET_FEEDBACK}"


def feedback_text(sentences: tuple[str, ...]) -> str:
    """Formats feedback sentences in the form that the policy reads and writes."""
    lines = "\n".join(f"- {sentence}" for sentence in sentences)
    return f"<feedback>\n{lines}\n{END_FEEDBACK}"


def system(libraries: tuple[str, ...] = ()) -> Message:
    """The system message: the form of an answer, and the libraries that may be loaded."""
    if not libraries:
        return SYSTEM
    told = LIBRARIES.format(libraries=", ".join(libraries))
    return Message(role="system", content=SYSTEM.content.replace(NO_LIBRARIES, told))


def first(task: Task) -> tuple[Message, ...]:
    """Prompt for the first page of a task."""
    return (system(task.libraries), Message(role="user", content=task.brief))


def revise(task: Task, best: Page | None, feedback: tuple[str, ...], *, as_edits: bool = False) -> tuple[Message, ...]:
    """Prompt for a better page than `best`, given the feedback on it; `as_edits` asks for edits of `best`."""
    shown = answer(best.html) if best is not None and best.html is not None else GET_FEEDBACK
    told, brief = first(task)
    if as_edits:
        told = Message(role="system", content=told.content.replace(WHOLE_PAGE, EDITS))
    return (
        told,
        brief,
        Message(role="assistant", content=shown),
        Message(role="user", content=feedback_text(feedback)),
    )


def review(task: Task, page: Page) -> tuple[Message, ...]:
    """Prompt for the policy's review of its own page."""
    shown = answer(page.html) if page.html is not None else GET_FEEDBACK
    return (*first(task), Message(role="assistant", content=shown), Message(role="user", content=REVIEW))
