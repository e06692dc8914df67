"""Named child generators from one seed."""

import subprocess
import sys

import pytest

from autoprompt.seeding import derive_seed, generator


def test_same_seed_and_names_give_the_same_numbers():
    first, second = (generator(7, "sampler", 3).random(8).tolist() for _ in range(2))
    assert first == second


def test_seed_zero_is_a_seed_of_its_own():
    assert len({derive_seed(seed, "x") for seed in (0, 1, -1, 2**40)}) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a",), ("b",)),
        (("a", 1), ("a", 2)),
        (("a", 1), ("a", "1")),
        (("a", "b"), ("ab",)),
        (("a", "b"), ("b", "a")),
        ((), ("",)),
    ],
)
def test_every_name_counts(one, other):
    assert derive_seed(0, *one) != derive_seed(0, *other)


def test_seed_fits_32_bits():
    assert all(0 <= derive_seed(seed, "x") < 2**32 for seed in range(200))


def test_seed_does_not_depend_on_the_process():
    code = "from autoprompt.seeding import derive_seed; print(derive_seed(5, 'é', 1))"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert int(other) == derive_seed(5, "é", 1)
