"""The prompts of Web-Bench: all files of the project, then the task, then the errors of the last attempt.

They ask for the same as the public harness, in other words.
"""

from collections.abc import Mapping

from cluster.benchmarks.webbench.projects import INIT, ProjectTask
from rollout.records import Message

SYSTEM = """You develop a web project of plain HTML, CSS and JavaScript files. Answer with code only:
1. Write one fenced code block for each file that you create or change.
2. Name the language after the opening fence, and the file's path, once, on the next line.
3. Write every such file completely. Omit and abbreviate nothing.
4. Give no explanations.

Example:

```html
index.html
<html><body><script src="parts/menu.js"></script></body></html>
```
```javascript
parts/menu.js
document.body.append('menu')
```
"""


def messages(
    task: ProjectTask, files: Mapping[str, str], initial: Mapping[str, str], error: str
) -> tuple[Message, ...]:
    """The prompt of a task: `files` are the project's present ones, `error` is that of the last attempt."""
    parts = [f"```{path}\n{content}\n```" for path, content in files.items()]
    parts.append(f"Task: {task.description}")
    if task.id == INIT:
        parts.append(f"The project has these files: {', '.join(initial)}. Begin every block with its file's path.")
    parts.append("Return complete files; do not shorten the code that is there.")
    if error:
        parts.append(
            "Your last answer to this task failed. Correct the files, and return each changed file completely, with "
            f"its path.\n{error}"
        )
    else:
        parts.append("Return code without explanations.")
    return Message(role="system", content=SYSTEM), Message(role="user", content="\n\n".join(parts))
