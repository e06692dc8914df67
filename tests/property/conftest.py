"""Few examples by default, many where AUTOPROMPT_TEST_PROFILE is "thorough"."""

import os

from hypothesis import HealthCheck, settings

SETTLED = {
    "deadline": None,  # the machine may be busy, and no test here is about time
    "suppress_health_check": [HealthCheck.too_slow],
}
settings.register_profile("property-fast", max_examples=60, derandomize=True, **SETTLED)
settings.register_profile("property-thorough", max_examples=1000, **SETTLED)
settings.load_profile(f"property-{os.environ.get('AUTOPROMPT_TEST_PROFILE', 'fast')}")
