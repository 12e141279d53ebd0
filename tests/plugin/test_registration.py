from __future__ import annotations

import sys

import pytest
import tyro
from nerfstudio.configs.method_configs import all_methods
from nerfstudio.plugins.registry import discover_methods

from garv_gsplat import method_configs
from garv_gsplat.fitting.config import PRESETS
from garv_gsplat.plugin.trainer import GarvTrainerConfig


def test_presets_are_methods():
    for name, preset in PRESETS.items():
        config = all_methods[name]
        assert isinstance(config, GarvTrainerConfig) and config.method_name == name
        assert config.pipeline.model.fit == preset.fit and config.pipeline.model.fit is not preset.fit
        assert (config.max_num_iterations, config.epochs) == (preset.steps, preset.epochs)
        assert config.steps_for(132) == preset.steps_for(132)


def test_a_plugin_that_does_not_load_does_no_harm(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setitem(sys.modules, "garv_gsplat.plugin.methods", None)  # importing it now fails
    broken = method_configs._specifications()
    assert all("does not load" in reason for reason in broken.values())
    for attribute, reason in broken.items():
        monkeypatch.setattr(method_configs, attribute, reason)
    methods, _ = discover_methods()
    assert not any(name.startswith("garv") for name in methods)
    assert "garv-gsplat is off" in capsys.readouterr().out


def test_help_tells_units_of_the_fit_and_nothing_without_a_meaning(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(tyro.conf.FlagConversionOff[GarvTrainerConfig], args=["--help"])
    text = capsys.readouterr().out
    assert "--pipeline.model.fit.bpp" in text and "bits per pixel" in text
    assert "--duration" in text and "--pipeline.datamanager.dataparser.duration" in text
    for word in ("collider", "--pipeline.model.eval-num", "--optimizers", "fps-reset-every", "mixed-precision"):
        assert word not in text
