"""The ledger adds up."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from autoprompt.scoring.ledger import Spent

counts = st.integers(0, 10**9)
amounts = st.builds(
    Spent, counts, counts, counts, counts, st.integers(0, 10**6).map(lambda n: n / 8)
)


@given(st.lists(amounts, max_size=5))
def test_a_sum_is_the_sum_of_each_part(spent: list[Spent]) -> None:
    total = sum(spent, Spent())
    for part in Spent.__dataclass_fields__:
        assert getattr(total, part) == sum(getattr(amount, part) for amount in spent)


@given(amounts)
def test_the_json_form_comes_back(spent: Spent) -> None:
    assert Spent.from_dict(json.loads(json.dumps(spent.to_dict()))) == spent


def test_a_record_of_another_version_is_read_as_far_as_it_is_known() -> None:
    assert Spent.from_dict({"forwards": 3, "kilowatts": 1}) == Spent(forwards=3)
