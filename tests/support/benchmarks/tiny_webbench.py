"""A small benchmark in the layout of Web-Bench, and a runner that knows its tests without Node.

Task N of every project adds a paragraph with the id pN to the page, or to a script if the page loads one.
"""

import json
from pathlib import Path

from actors.node.records import SpecReport, SpecResult, SpecRun, Status
from cluster.benchmarks.webbench.projects import INIT, NUM_TASKS, PROJECTS

WITHOUT_INIT = "color"
"""The project without a task `init`; its tasks are YAML."""
SPEC = """const {{ test, expect }} = require('@playwright/test');
const {{ getOffset, expectTolerance, isExisted }} = require('@web-bench/test-util');
test.beforeEach(async ({{ page }}) => {{ await page.goto('/index.html'); }});
test('{name} is there', async ({{ page }}) => {{ await expect(page.locator('#{name}')).toBeVisible(); }});
"""


def page(num: int, extra: str = "") -> str:
    """The page after a number of tasks."""
    paragraphs = "".join(f"<p id=p{number}>{number}</p>" for number in range(1, num + 1))
    return f"<!DOCTYPE html>\n<html><body><h1 id=init>Tasks</h1>{paragraphs}{extra}</body></html>"


def answer(num: int, extra: str = "") -> str:
    """The page in the form of an answer."""
    return f"Here it is.\n```html\nindex.html\n{page(num, extra)}\n```\n"


def write_clone(folder: Path, num: int = len(PROJECTS)) -> Path:
    """Writes the first `num` projects."""
    for name in PROJECTS[:num]:
        project = folder / "projects" / name
        for part, text in (("src-init", page(0)), ("src", page(NUM_TASKS))):
            (project / part).mkdir(parents=True)
            (project / part / "index.html").write_text(text)
        (project / "test").mkdir()
        (project / "package.json").write_text('{"name": "tiny"}')
        ids = [INIT, *(f"task-{number}" for number in range(1, NUM_TASKS + 1))]
        for task in ids:
            (project / "test" / f"{task}.spec.js").write_text(SPEC.format(name=task.replace("task-", "p")))
        rows = [{"id": task, "level": "easy", "description": f"add {task}"} for task in ids]
        if name == WITHOUT_INIT:
            lines = "".join(f"- id: {row['id']}\n  description: |\n    - {row['description']}\n" for row in rows[1:])
            (project / "tasks.yml").write_text(lines)
        else:
            (project / "tasks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


class PaperSpecs:
    """Runs a specification by looking for its id in the page; remembers the runs."""

    def __init__(self) -> None:
        self.runs: list[SpecRun] = []

    async def run(self, spec: SpecRun) -> SpecReport:
        """See `SpecRunner`."""
        self.runs.append(spec)
        shown = spec.files["src/index.html"].decode() if "src/index.html" in spec.files else ""
        results: list[SpecResult] = []
        for path in spec.specs:
            name = Path(path).name.partition(".")[0].replace("task-", "p")
            status: Status = "passed" if f"id={name}>" in shown else "failed"
            if spec.max_failures and sum(one.status == "failed" for one in results) >= spec.max_failures:
                status = "skipped"
            error = f"#{name} is not visible" if status == "failed" else ""
            results.append(SpecResult(spec=path, title=f"{name} is there", status=status, error=error, seconds=1.0))
        return SpecReport(results=tuple(results), seconds=1.0)
