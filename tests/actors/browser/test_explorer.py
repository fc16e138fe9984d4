"""Tests of the control explorer: which controls are operated, what is recorded, and what a critic is shown."""

import pytest
import pytest_asyncio

from actors.browser.renderer import ChromiumRenderer
from actors.settings import BrowserSettings
from reward.multimodal import rubric
from rollout.records import Page, Probe, ProbeStep, Render, Task

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SETTINGS = BrowserSettings(cpu_budget_s=1.5, explore=12)
INK = "<h1>Shop</h1><div style='width:300px;height:60px;background:teal'></div>"
SHOP = f"""{INK}<style>button:hover{{background:gold;transition:.2s}} #box{{width:99px;height:40px}}</style>
<button id=dead>Dead</button><button id=red>Red</button><button>Red</button><button disabled>Off</button>
<button hidden>Away</button><input placeholder=Wish id=wish><p id=said></p><a href="https://example.org/">Out</a>
<button id=bad>Bad</button><select name=size><option>S<option>M</select><div id=box style="cursor:pointer">Box</div>
<button id=gone>Gone</button><div style="position:relative">Cover <button>Under</button>
<div style="position:absolute;inset:0;background:#ccc"></div></div><button id=loop>Loop</button><button>Never</button>
<script>
red.onclick = () => {{ document.body.style.background = '#f88'; }};
wish.oninput = () => {{ said.textContent = wish.value; }};
bad.onclick = () => {{ missing(); }};
box.addEventListener('click', () => {{ box.textContent = 'Clicked'; gone.remove(); }});
loop.onclick = () => {{ while (true) {{}} }};
</script>"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def render(renderer: ChromiumRenderer) -> Render:
    return await renderer.render(Page(html=SHOP))


async def test_every_control_is_operated_once_and_its_effect_is_recorded(render: Render) -> None:
    assert (render.outcome, render.flags) == ("ok", ())
    seen = {one.control: (one.changed, len(one.thrown), one.detail) for one in render.explored}
    assert list(seen.items())[:-1] == [
        ('button "Dead"', (False, 0, "")),
        ('button "Red"', (True, 0, "")),
        ('text "Wish"', (True, 0, "")),
        ('a "Out"', (False, 0, "asks for Document https://example.org/")),
        ('button "Bad"', (False, 1, "")),
        ('select "size"', (True, 0, "")),
        ('div "Box"', (True, 0, "")),
        ('button "Gone"', (False, 0, "is no longer visible")),
        ('button "Under"', (False, 0, "is covered by something else")),
    ]
    assert list(seen.items())[-1][0] == 'button "Loop"'
    assert "of CPU" in render.explored[-1].detail
    assert [shot.label for shot in render.shots] == ["", "", "", *list(seen)[:-1]]


async def test_critic_is_shown_changed_controls_and_told_the_others(render: Render) -> None:
    task = Task(id="shop", brief="A shop.")
    (_, asked) = rubric.messages(task, Page(html=SHOP), render, lambda shot: shot.sha256)
    said = "\n".join(part.get("text", "<picture>") for part in asked["content"])
    assert "After the interaction 'button \"Red\"':\n<picture>" in said
    assert "After the interaction 'button \"Dead\"'" not in said
    assert '- button "Dead": the picture did not change\n' in said
    assert '- button "Bad": the picture did not change; threw ReferenceError: missing is not defined' in said
    assert said.index("=== BEGIN PAGE") < said.index("Controls that were operated") < said.index("=== END PAGE")


async def test_exploration_is_reproducible_and_skipped_for_pages_with_probes(renderer: ChromiumRenderer) -> None:
    calm = Page(html=SHOP.replace("while (true) {}", ""))
    first, again = [await renderer.render(calm) for _ in range(2)]
    assert first.explored == again.explored
    assert [shot.sha256 for shot in first.shots] == [shot.sha256 for shot in again.shots]
    assert first.explored[-1].control == 'button "Never"'
    probe = Probe(name="there", steps=(ProbeStep(kind="expect_visible", selector="h1"),))
    assert (await renderer.render(calm, (probe,))).explored == ()
