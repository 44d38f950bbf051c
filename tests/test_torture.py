"""The short form of each campaign of tests/torture: no fault is found."""

import pytest
from torture.__main__ import campaigns
from torture.campaign import Task

CAMPAIGNS = campaigns()


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_short_campaign_finds_no_fault(name, tmp_path):
    outcome = CAMPAIGNS[name].run(Task(tmp_path, seed=0, tries=CAMPAIGNS[name].QUICK))
    assert outcome.faults == []
    assert outcome.tries >= CAMPAIGNS[name].QUICK
