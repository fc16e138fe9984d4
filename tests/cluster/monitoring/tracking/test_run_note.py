"""Tests of a run's description: figures before and after, reasons, and final scores."""

from cluster.monitoring.report_content import exam_row
from cluster.monitoring.summary import summarise
from cluster.monitoring.tracking.run_note import final_scores, run_note
from cluster.settings import RunSettings
from cluster.training.exam import Exam
from cluster.training.state import RunState

EXAMS = [Exam(step=0, rewards={"a": 0.25, "b": 0.25}, valid=0.5), Exam(step=4, rewards={"a": 0.5, "b": 0.5}, valid=1.0)]


def test_note_compares_the_policy_before_and_after_training() -> None:
    state = RunState(step=4, exams=EXAMS, champion_step=4, inference={"self_edit": {"reward": 0.75}})
    summary = summarise("r", "finished", state, RunSettings())
    note = run_note(summary, [exam_row(exam, EXAMS) for exam in EXAMS], ["a reason", ""])
    assert "**finished after 4 steps**" in note
    assert "| reward | 0.250 | 0.500 |" in note
    assert "gain +0.250 [+0.250, +0.250]" in note
    assert "self_edit 0.750" in note
    assert "- a reason\n" in note
    assert "- \n" not in note
    assert final_scores(summary) == {
        "final/reward": 0.5,
        "final/valid_share": 1.0,
        "final/reward_gain": 0.25,
        "final/inference_self_edit": 0.75,
    }


def test_note_of_a_run_without_exams_has_no_results() -> None:
    summary = summarise("r", "stopped", RunState(), RunSettings())
    assert "| reward | – | – |" in run_note(summary, [], [])
    assert final_scores(summary) == {}
