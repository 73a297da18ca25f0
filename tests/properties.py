"""How the tests that draw their own cases run: as many cases each time, and the same ones."""

from hypothesis import HealthCheck, settings


def few(examples: int) -> settings:
    """Settings for so many cases, drawn alike in every run."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
