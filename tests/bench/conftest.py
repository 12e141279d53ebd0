from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from garv_gsplat.bench import timing


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, because tiny operations gain nothing from more; ceilings that need no gigabytes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("garv_gsplat.bench.ceilings._COPY_BYTES", {"cpu": 1 << 22, "cuda": 1 << 26})
    monkeypatch.setattr("garv_gsplat.bench.ceilings._PATIENCE", timing.Patience(0.01, 3))
    yield
    torch.set_num_threads(before)
