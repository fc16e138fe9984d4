"""Tests of finished groups: they are read newest first, one at a time, without tokens, while a run goes on."""

from dataclasses import replace
from pathlib import Path

import pytest
from stored_groups import groups

from cluster.storage.finished_groups import pending_files, read_finished, read_untokenized, stored_files
from cluster.storage.pending_groups import PendingGroups
from cluster.storage.store import Store
from rollout.errors import CheckpointError
from rollout.records import Attempt, Group


def untokenized(group: Group) -> Group:
    def bare(attempt: Attempt) -> Attempt:
        tokens = {"prompt_ids": (), "token_ids": (), "logprobs": (), "versions": ()}
        return replace(attempt, completion=replace(attempt.completion, **tokens))

    played = (
        replace(
            one,
            turns=tuple(replace(turn, attempts=tuple(map(bare, turn.attempts))) for turn in one.turns),
        )
        for one in group.trajectories
    )
    return replace(group, trajectories=tuple(played))


async def test_groups_are_read_newest_first_and_without_tokens(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, two = await groups(store)
    store.write_groups(1, [one, two])
    store.write_groups(2, [two])
    PendingGroups(store, seed=0).put((3, 5), one)
    (pending,) = pending_files(store)
    assert (pending.step, pending.place, pending.pending) == (3, 5, True)
    files = list(stored_files(store))
    assert [(file.step, file.place) for file in files] == [(2, 0), (1, 1), (1, 0)]
    stored = [group for step in (2, 1) for group in reversed(store.read_groups(step) or [])]
    assert [read_finished(file) for file in files] == [untokenized(group) for group in stored]
    assert read_finished(pending) == untokenized(stored[-1])
    assert [(file.step, file.place) for file in stored_files(store, before=(1, 1))] == [(1, 0)]


async def test_a_group_whose_file_is_gone_is_none_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    PendingGroups(store, seed=0).put((1, 0), (await groups(store))[0])
    (file,) = pending_files(store)
    file.path.write_bytes(b"not a table")
    with pytest.raises(CheckpointError, match="place-000000.arrow: damaged"):
        read_finished(file)
    file.path.unlink()
    assert read_finished(file) is None
    assert pending_files(store) == []
    assert read_untokenized(store.step_file(1)) == []
