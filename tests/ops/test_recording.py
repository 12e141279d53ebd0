"""Launches recorded once and replayed."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from garv_gsplat.ops import Recording

DEVICE = torch.device("cuda", 0)


@pytest.mark.cuda
def test_a_replay_reads_what_is_there_now_and_a_new_recording_takes_over():
    recording, numbers = Recording(DEVICE), torch.arange(5.0, device=DEVICE)
    for part in (numbers[:2], numbers, numbers[1:4]):
        result = recording.record(partial(torch.mul, part, 2))
        for added in (0, 7):
            numbers += added
            recording.replay()
            assert torch.equal(result, 2 * part)


@pytest.mark.cuda
def test_recordings_share_their_memory_and_leave_caches_alone():
    recording, source = Recording(DEVICE), torch.ones(1 << 24, device=DEVICE)

    def launches() -> torch.Tensor:
        return (source * 2 + 1).sum()

    recording.record(launches)
    cached = torch.empty(1 << 26, device=DEVICE)
    del cached
    before = torch.cuda.memory_reserved(DEVICE)
    for _ in range(4):
        result = recording.record(launches)
    assert torch.cuda.memory_reserved(DEVICE) == before
    recording.replay()
    assert result == 3 * len(source)
