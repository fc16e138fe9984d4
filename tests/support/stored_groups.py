"""Groups played by the paper policy, with every field that a table stores."""

from doubles import PaperPolicy, services, task, worker

from cluster.storage.store import Store
from rollout.records import Group, Probe, ProbeStep, Viewport
from rollout.settings import EpisodeSettings

SCREENS = Viewport(width=1280, height=800), Viewport(width=390, height=844)


async def groups(store: Store) -> list[Group]:
    probe = Probe(name="opens", steps=(ProbeStep(kind="click", selector="#a"), ProbeStep(kind="expect_change")))
    tasks = [
        task("a", probes=(probe,)),
        task("b", checklist=("is blue",), reference_html="<p>level 4</p>", viewports=SCREENS),
    ]
    hands = worker(services(policy=PaperPolicy()), EpisodeSettings(rounds=2, attempts=3, max_tokens=16), store)
    return [await hands.play_group(one, num=3, seed=index, keep=True) for index, one in enumerate(tasks)]
