"""A fit's presets as nerfstudio methods."""

from __future__ import annotations

from copy import deepcopy

from nerfstudio.plugins.types import MethodSpecification

from garv_gsplat.fitting.config import PRESETS
from garv_gsplat.plugin.model import GarvModelConfig
from garv_gsplat.plugin.pipeline import GarvPipelineConfig
from garv_gsplat.plugin.trainer import GarvTrainerConfig


def specification(name: str) -> MethodSpecification:
    """The method of the preset `name`."""
    preset = PRESETS[name]
    config = GarvTrainerConfig(
        method_name=name,
        max_num_iterations=preset.steps,
        epochs=preset.epochs,
        pipeline=GarvPipelineConfig(model=GarvModelConfig(fit=deepcopy(preset.fit))),
    )
    return MethodSpecification(config, preset.description)
