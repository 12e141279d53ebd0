"""Puts data manager and model together; evaluates what would be on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig

from garv_gsplat.codec import find_codec
from garv_gsplat.fitting import check_memory
from garv_gsplat.plugin.datamanager import GarvDataManager, GarvDataManagerConfig
from garv_gsplat.plugin.evaluation import evaluate
from garv_gsplat.plugin.failure import refuse
from garv_gsplat.plugin.model import GarvModel, GarvModelConfig, info_from_plain


@dataclass
class GarvPipelineConfig(VanillaPipelineConfig):
    """Frames and Gaussians."""

    _target: type = field(default_factory=lambda: GarvPipeline)
    """the class this configures"""
    datamanager: GarvDataManagerConfig = field(default_factory=GarvDataManagerConfig)
    """where the frames come from"""
    model: GarvModelConfig = field(default_factory=GarvModelConfig)
    """the Gaussians"""


class GarvPipeline(VanillaPipeline):
    """With `test_mode` "val", as in ns-train, the video is decoded at once; else a checkpoint tells its size."""

    config: GarvPipelineConfig
    datamanager: GarvDataManager
    model: GarvModel

    def __init__(
        self,
        config: GarvPipelineConfig,
        device: str,
        test_mode: Literal["test", "val", "inference"] = "val",
        world_size: int = 1,
        local_rank: int = 0,
        grad_scaler=None,
    ) -> None:
        training = test_mode == "val"
        if training:
            find_codec(config.model.fit.codec).check()
            _check_memory(config, torch.device(device))
        # a viewer, an export and an evaluation must also start when the video has moved
        super().__init__(config, device, "val" if training else "inference", world_size, local_rank, grad_scaler)
        self.test_mode = test_mode
        if training:
            self.datamanager.prepare_training(config.model.fit)

    def load_pipeline(self, loaded_state: dict[str, Any], step: int) -> None:
        """Also tells the data manager the size of the video. Where nothing is trained, the file is what is seen."""
        self.datamanager.adopt(info_from_plain(loaded_state["_model._extra_state"]["info"]))
        super().load_pipeline(loaded_state, step)
        if self.test_mode != "val":
            self.model.show_file()

    def get_average_eval_image_metrics(
        self, step: int | None = None, output_path: Path | None = None, get_std: bool = False
    ) -> dict[str, float]:
        """Quality, size and speed of a `.garv` of the Gaussians (see `evaluation.evaluate`), on all frames."""
        self.eval()
        try:
            frames = self.datamanager.dataparser.read().frames
            results = evaluate(self.model.file(), frames, self.device, output_path)
        except ValueError as error:  # it cannot be read, or is of another size
            refuse(f"evaluating needs the video that was fitted: {error}")
        self.train()
        return results if get_std else {k: v for k, v in results.items() if not k.endswith("_std")}


def _check_memory(config: GarvPipelineConfig, device: torch.device) -> None:
    """Raises FitMemoryError before anything large is read."""
    parser = config.datamanager.setup(device=device, test_mode="inference").dataparser
    info = parser.read_info()
    check_memory(info, config.model.fit, device)
