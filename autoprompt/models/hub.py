"""Whether the Hugging Face hub is there to be asked for a model."""

from __future__ import annotations

import time

PAUSE = 1.0  # seconds before the second and last try


def check_reachable(name: str, revision: str) -> None:
    """Give up at once on a model that is not cached while the hub cannot be reached.

    The hub's own client tries six times and waits 23 seconds between, and no setting says
    otherwise. What the hub answers, be it an error, is left to that client; so is what comes after.

    Args:
        name: a Hugging Face name.
        revision: of it, or "".

    Raises:
        ConnectionError: the hub cannot be reached.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        if isinstance(try_to_load_from_cache(name, "config.json", revision=revision or None), str):
            return
        url = hf_hub_url(name, "config.json", revision=revision or None)
    except HFValidationError:
        return  # not a name that the hub could have, which its client says as well
    for last in (False, True):
        try:
            get_hf_file_metadata(url)  # one request, without any retries
            return
        except HfHubHTTPError:
            return
        except Exception as error:  # of whatever HTTP library the client is built on
            if last or isinstance(error, OfflineModeIsEnabled):
                raise ConnectionError(f"the hub cannot be reached: {error}") from error
            time.sleep(PAUSE)
