"""A connector service is asked by propeller as by FlytePropeller, field by field, and workflows end in the same way:
beside a recording of the real one, and beside itself if it is built (`python tools/compare_flytepropeller.py`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.connector_peers.bench import OURS, bench
from tests.connector_peers.differences import MEANT, RECORDED, differences, read_run, reason

pytestmark = pytest.mark.needs("kube-apiserver", "rclone", "flytekit")


async def test_a_connector_service_and_its_users_see_what_they_see_of_flytepropeller(tmp_path: Path) -> None:
    recorded = read_run(RECORDED)
    async with bench(tmp_path, "") as (found, names):
        ours = await found.run(OURS)
    assert set(names) == recorded.ends.keys()
    seen = {difference: reason(difference) for difference in differences(recorded, ours, names)}
    assert [difference for difference, why in seen.items() if not why] == []
    assert {why for _, why in MEANT} == set(seen.values()), "a difference that is meant is not there any more"
