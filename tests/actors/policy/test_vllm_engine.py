"""Tests of one-line messages of a vLLM engine's errors."""

import pytest
from pydantic import BaseModel, Field, ValidationError

from actors.policy.vllm_engine import one_line


class Config(BaseModel):
    """Settings with two limits."""

    sequences: int = Field(gt=0)
    tokens: int = Field(gt=0)


def test_settings_that_are_refused_give_the_findings_alone() -> None:
    with pytest.raises(ValidationError) as caught:
        Config(sequences=0, tokens=-1)
    assert one_line(caught.value) == "Input should be greater than 0; Input should be greater than 0"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("two\n  lines"), "two lines"),
        (RuntimeError(), "RuntimeError"),
        (RuntimeError("x" * 400), "x" * 300),
    ],
)
def test_other_errors_give_one_bounded_line(error: Exception, line: str) -> None:
    assert one_line(error) == line
