"""What the policy is told, as messages: the first page, a revision, its own review.

The engine's tokenizer turns messages into ids with its chat template. The built-in policy's template leaves
the system message out: it was trained on the conventions that message states.
"""

from rollout.records import Message, Page, Task

GET_FEEDBACK = "<get_feedback/>"
"""What the policy writes to ask for a render and a critique; it ends a page."""
REVIEW = "<review/>"
"""What the policy is shown when it must criticise the page itself."""
END_FEEDBACK = "</feedback>"

PAGE_STOP = (GET_FEEDBACK,)
REVIEW_STOP = (END_FEEDBACK,)

NO_LIBRARIES = "There is no network: no external style, script, font or picture will load."
LIBRARIES = """These libraries and fonts load from their usual public CDN addresses (jsdelivr, unpkg, cdnjs, esm.sh,
Google Fonts): {libraries}.
Nothing else loads from the network: no other style, script, font or picture."""
SYSTEM = Message(
    role="system",
    content=f"""You write complete, self-contained web pages: one HTML document with its style and script inline.
{NO_LIBRARIES}
Think briefly between <think> and </think>, then write the whole page in one ```html block, then {GET_FEEDBACK}
and nothing more. When you are shown <feedback>, write the whole improved page in the same form.
When you are shown {REVIEW}, say what is wrong with your page instead: at most five short lines that begin
with "- ", worst first, between <feedback> and {END_FEEDBACK}.""",
)


def answer(html: str, thought: str = "") -> str:
    """A page in the form the policy is asked to write it in."""
    think = f"<think>{thought}</think>\n" if thought else ""
    return f"{think}```html\n{html}\n```\n{GET_FEEDBACK}"


def feedback_text(sentences: tuple[str, ...]) -> str:
    """Feedback sentences in the form the policy reads and writes them in."""
    lines = "\n".join(f"- {sentence}" for sentence in sentences)
    return f"<feedback>\n{lines}\n{END_FEEDBACK}"


def system(libraries: tuple[str, ...] = ()) -> Message:
    """The conventions of an answer, and what its page may load."""
    if not libraries:
        return SYSTEM
    told = LIBRARIES.format(libraries=", ".join(libraries))
    return Message(role="system", content=SYSTEM.content.replace(NO_LIBRARIES, told))


def first(task: Task) -> tuple[Message, ...]:
    """Asks for the page of a task."""
    return (system(task.libraries), Message(role="user", content=task.brief))


def revise(task: Task, best: Page | None, feedback: tuple[str, ...]) -> tuple[Message, ...]:
    """Asks for a better page than `best`, given what was said of it."""
    shown = answer(best.html) if best is not None and best.html is not None else GET_FEEDBACK
    return (
        *first(task),
        Message(role="assistant", content=shown),
        Message(role="user", content=feedback_text(feedback)),
    )


def review(task: Task, page: Page) -> tuple[Message, ...]:
    """Asks the policy what is wrong with its own page."""
    shown = answer(page.html) if page.html is not None else GET_FEEDBACK
    return (*first(task), Message(role="assistant", content=shown), Message(role="user", content=REVIEW))
