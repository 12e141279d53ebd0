"""The tests of the plugin need nerfstudio, and are left out where it is not installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

if find_spec("nerfstudio") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from tests.plugin.fits import clip, config_path, configure, trained  # noqa: F401  (fixtures)


def pytest_configure(config: pytest.Config) -> None:
    # nerfstudio's own, once for every camera
    config.addinivalue_line("filterwarnings", "ignore:Using a non-tuple sequence for multidimensional indexing")
    config.addinivalue_line("filterwarnings", "ignore:To copy construct from a tensor")
