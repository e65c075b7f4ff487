"""The percentile, by its definition."""

import pytest

from app.services.system_metrics import percentile


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], None), ([7], 7), ([3, 1, 2], 3), (list(range(1, 101)), 95), (list(range(1, 21)), 19)],
)
def test_nearest_rank(values: list[int], expected: int | None) -> None:
    assert percentile(values, 95) == expected
