"""Tests of the recorder: own specifications become probes, and every test that cannot says why."""

import shutil
from pathlib import Path

import pytest

from actors.playwright.recorder import RecordedTest, record_spec
from rollout.errors import TaskFileError
from rollout.probes import step_row

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs Node and npm"),
]
HEAD = """const { test, expect } = require('@playwright/test');
const path = require('path');
const address = 'file://' + path.resolve(__dirname, '../pages/lamp.html');
test.beforeEach(async ({ page }) => { await page.goto(address); });
const lamp = page => page.locator('#lamp');
"""
TRANSLATED = """
test.describe('Lamp', () => {
  for (const [colour, code] of [['red', '#f00'], ['blue', '#00f']]) {
    test(`turns ${colour}`, async ({ page }) => {
      const before = await lamp(page).screenshot();
      await page.getByRole('button', { name: colour, exact: true }).click();
      expect(await lamp(page).screenshot()).not.toEqual(before);
      await expect(lamp(page)).toHaveClass(/on|lit/);
      await expect(page.locator('output')).toHaveText([code]);
    });
  }
  test('dims', async ({ page }) => {
    const old = parseFloat(await page.locator('#watts').textContent());
    const box = await lamp(page).boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + 10);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width, box.y + 10, { steps: 5 });
    await page.mouse.up();
    expect(parseFloat(await page.locator('#watts').textContent())).toBeLessThan(old);
    await expect.poll(() => page.locator('#watts').textContent()).toMatch(/^\\d+ W$/);
  });
});
"""
REASONS = {
    "await page.reload();": "opens the page twice",
    "await expect(lamp(page)).toHaveScreenshot('a.png');": "compares with a stored picture",
    "const n = await lamp(page).count(); for (let i = 0; i < n; i++) await lamp(page).nth(i).click();": "computes with",
    "if (await lamp(page).isVisible()) await lamp(page).click(); await expect(lamp(page)).toBeVisible();": "branches",
    "expect(1 + 1).toBe(2);": "compares values that were not read from the page",
    "await page.pdf();": "calls pdf of a page or locator",
    "await lamp(page).click();": "expects nothing",
    "null.x;": "fails while it is recorded: TypeError",
}


async def recorded(folder: Path, body: str) -> tuple[RecordedTest, ...]:
    spec = folder / "lamp.spec.js"
    spec.write_text(HEAD + body)
    return await record_spec(spec)


async def test_calls_become_steps_with_loops_helpers_and_positions_resolved(tmp_path: Path) -> None:
    red, blue, dims = await recorded(tmp_path, TRANSLATED)
    assert [one.describe for one in (red, blue, dims)] == [("Lamp",)] * 3
    assert red.probe is not None
    assert blue.probe is not None
    assert dims.probe is not None
    assert (red.probe.name, red.probe.fresh) == ("Lamp › turns red", True)
    assert [{key: value for key, value in step_row(step).items() if value} for step in red.probe.steps] == [
        {"kind": "read", "name": "picture", "locator": "css=#lamp", "reading": "r1"},
        {"kind": "click", "locator": 'role=button "red"'},
        {"kind": "read", "name": "picture", "locator": "css=#lamp", "reading": "r2"},
        {"kind": "expect_reading", "to": "r1", "negated": True, "reading": "r2", "relation": "equal"},
        {"kind": "expect_attribute", "name": "class", "pattern": "/on|lit/", "locator": "css=#lamp"},
        {"kind": "expect_count", "value": "1", "locator": "css=output"},
        {"kind": "expect_text", "value": "#f00", "exact": True, "locator": "css=output >> nth=0"},
    ]
    assert blue.probe.steps[-1].value == "#00f"
    moves = [step.value for step in dims.probe.steps if step.name == "move"]
    assert moves == ["r2.x + 0.5 * r2.width, r2.y + 10", "r2.x + r2.width, r2.y + 10"]
    less, _, polled = dims.probe.steps[-3:]
    assert (less.reading, less.relation, less.to) == ("r3|number", "less", "r1|number")
    assert (polled.relation, polled.pattern, polled.name) == ("matches", "/^\\d+ W$/", "text")


async def test_every_other_test_names_the_reason(tmp_path: Path) -> None:
    bodies = [f"test('{i}', async ({{ page }}) => {{ {body} }});" for i, body in enumerate(REASONS)]
    for found, reason in zip(await recorded(tmp_path, "\n".join(bodies)), REASONS.values(), strict=True):
        assert found.probe is None
        assert reason in found.reason, found


async def test_specification_reaches_neither_files_nor_output(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    body = f"console.log('noise'); test('a', () => {{ require('fs').readFileSync('{secret}'); }});"
    (found,) = await recorded(tmp_path, body)
    assert "ENOENT" in found.reason


async def test_file_without_tests_of_playwright_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match="not a specification"):
        await recorded(tmp_path, "syntax error")
