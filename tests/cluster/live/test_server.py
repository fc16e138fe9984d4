"""Tests of the live page's server: its answers, the requests it refuses, and runs in every state."""

import http.client
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from drawn_episodes import PICTURES
from live_run import finish_group, group, names, new_run, rows, served, write_status

from cluster.live.now import SILENT_S
from cluster.live.run_page import MAX_EPISODES, Query, RunPage
from cluster.storage.store import Store
from rollout.errors import CheckpointError, StorageFault

EVIL = """</script></pre></style>"'><img src=x onerror=alert(1)><script>alert(2)</script>"""
NEWEST = Query(everything=True)


def ask(url: str, path: str, host: str | None = None, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer; the path is sent as it is."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def text(store: Store, query: Query = NEWEST) -> str:
    return " ".join(RunPage(store).elements(query))


def test_a_run_that_has_just_started_has_a_page(tmp_path: Path) -> None:
    store = new_run(tmp_path / "young")
    for words in ("No training step is finished yet", "No episode is finished yet", "No step is finished yet"):
        assert words in text(store)
    write_status(store, stage="starting browsers, engines and learner", stage_began=time.time())
    assert "starting browsers, engines and learner" in text(store)


def test_actors_progress_and_silence_are_shown(tmp_path: Path) -> None:
    store = new_run(tmp_path / "run", steps=2)
    pools = {"browser": {"healthy": 2, "lost": 1}, "learner-rank": {"healthy": 1, "lost": 0}}
    now = {"stage": "step 3 of 9", "done": 3, "total": 6, "what": "groups", "seconds_left": 240, "pools": pools}
    write_status(store, **now)
    for words in ("step 3 of 9", "3 of 6 groups", "about 4 min of training left", "browsers", "learner ranks"):
        assert words in text(store)
    assert '<td class="bad">1</td>' in text(store)
    write_status(store, **now, time=time.time() - 2 * SILENT_S)
    assert "No sign of life since" in text(store)
    assert "browsers</th>" not in text(store)
    write_status(store, status="stopped", pools={})
    assert "This run is stopped." in text(store)


def test_a_pending_group_is_shown_and_stays_the_same_item_when_its_step_is_stored(tmp_path: Path) -> None:
    store = new_run(tmp_path / "run", steps=1)
    before = names(store, NEWEST)
    finish_group(store, 2, 0, kind=7)
    (fresh,) = set(names(store, NEWEST)) - set(before)
    assert names(store, NEWEST)[0] == fresh
    store.write_groups(2, [group(2, 7)])
    assert names(store, NEWEST).count(fresh) == 1
    assert sorted(names(store, NEWEST)) == sorted([fresh, *before])


def test_pages_of_episodes_hold_every_episode_once(tmp_path: Path) -> None:
    store = new_run(tmp_path / "run", steps=MAX_EPISODES)
    seen: list[str] = []
    query: Query | None = NEWEST
    while query is not None:
        shown = names(store, query)
        assert len(shown) <= MAX_EPISODES
        seen += shown
        link = re.search(r"\?before=(\d+)-(\d+)&amp;all=1", text(store, query))
        query = Query(everything=True, before=(int(link[1]), int(link[2]))) if link else None
    assert len(seen) == len(set(seen)) == 2 * MAX_EPISODES
    assert len(names(store, Query())) == MAX_EPISODES, "only the first group of each step has screenshots"


def test_a_page_changes_only_where_the_run_did(tmp_path: Path) -> None:
    store = new_run(tmp_path / "run", steps=2)
    page = RunPage(store)
    before = {item.name: item.digest for item in page.items(NEWEST)}
    assert {item.name: item.digest for item in page.items(NEWEST)} == before
    store.note("10:00:00 lost browser-1: it was killed")
    after = {item.name: item.digest for item in page.items(NEWEST)}
    assert {name for name in after if after[name] != before[name]} == {"events"}


def test_pictures_are_served_by_content_hash(tmp_path: Path) -> None:
    with served(new_run(tmp_path / "one"), new_run(tmp_path / "two", steps=2)) as url:
        status, headers, body = ask(url, f"/shots/{next(iter(PICTURES))}")
        assert (status, headers["Content-Type"]) == (200, "image/jpeg")
        assert "immutable" in headers["Cache-Control"]
        assert body.startswith(b"\xff\xd8")
        assert ask(url, f"/shots/{'0' * 64}")[0] == 404


@pytest.mark.parametrize(
    "path",
    ["/shots/../run.json", "/shots/%2e%2e/run.json", "/../run.json", "/0/../../run.json", "/run.json", "//etc/passwd",
     "/7/", "/-1/digests", "/x/", "/0/item?item=../run.json", "/?before=x", "/?before=1-x", "/shots/"],
)  # fmt: skip
def test_other_addresses_name_nothing(tmp_path: Path, path: str) -> None:
    with served(new_run(tmp_path / "run")) as url:
        status, headers, body = ask(url, path)
    assert (status, body) == (404, b"not found\n")
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_other_host_names_and_methods_are_refused(tmp_path: Path) -> None:
    store = new_run(tmp_path / "run")
    with served(store) as url:
        port = urlsplit(url).port
        assert ask(url, "/", host=f"rebound.example:{port}")[0] == 403
        assert ask(url, "/", host=f"localhost:{port}")[0] == 200
        assert ask(url, "/", method="POST")[0] == 501
        assert ask(url, "/", method="HEAD")[2] == b""


def test_untrusted_text_is_never_markup(tmp_path: Path) -> None:
    store = new_run(tmp_path / "run", steps=1)
    store.note(EVIL)
    write_status(store, stage=EVIL, pools={EVIL: {"healthy": 1, "lost": 0}})
    with served(store) as url:
        body = ask(url, "/")[2].decode()
        (digest,) = [digest for name, digest in rows(ask(url, "/0/digests")[2]) if name == "events"]
        item = ask(url, "/0/item?item=events")[2].decode()
    assert "<img src=x" not in body + item
    assert body.count("<script>") == 1
    assert digest in item


def test_a_damaged_file_is_named_and_the_server_goes_on(tmp_path: Path) -> None:
    store = new_run(tmp_path / "run", steps=1)
    store.step_file(2).write_bytes(b"not a table")
    with served(store) as url:
        status, _, body = ask(url, "/0/digests")
        assert status == 500
        assert b"step-000002.parquet: damaged" in body
        store.step_file(2).unlink()
        assert ask(url, "/0/digests")[0] == 200


def test_a_run_without_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises((CheckpointError, StorageFault), match=r"run\.json"):
        RunPage(Store(tmp_path / "empty"))
