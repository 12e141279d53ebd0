"""Hands out frames: batches of uint8 from the device while training, one frame with its camera otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import tyro
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.datamanagers.base_datamanager import DataManager
from nerfstudio.data.datamanagers.full_images_datamanager import FullImageDatamanagerConfig
from torch import Tensor
from torch.nn import Parameter

from garv_gsplat.fitting import FitConfig, FrameSampler, SeenFrames, seen_frames
from garv_gsplat.plugin.dataparser import VideoDataParser, VideoDataParserConfig
from garv_gsplat.plugin.dataset import VideoDataset
from garv_gsplat.volume import VideoInfo

Hidden = tyro.conf.Suppress


@dataclass
class GarvDataManagerConfig(FullImageDatamanagerConfig):
    """Where the frames come from. Derived from the one config class that `ns-render dataset` accepts for cameras."""

    _target: type = field(default_factory=lambda: GarvDataManager)
    """the class this configures"""
    dataparser: VideoDataParserConfig = field(default_factory=VideoDataParserConfig)
    """which part of which video is taken"""

    # settings of nerfstudio's own data manager, without a meaning here
    masks_on_gpu: Hidden[bool] = False
    images_on_gpu: Hidden[bool] = False
    camera_res_scale_factor: Hidden[float] = 1.0
    eval_num_images_to_sample_from: Hidden[int] = -1
    eval_num_times_to_repeat_images: Hidden[int] = -1
    eval_image_indices: Hidden[tuple[int, ...] | None] = (0,)
    cache_images: Hidden[Literal["cpu", "gpu"]] = "gpu"
    cache_images_type: Hidden[Literal["uint8", "float32"]] = "uint8"
    max_thread_workers: Hidden[int | None] = None
    train_cameras_sampling_strategy: Hidden[Literal["random", "fps"]] = "random"
    train_cameras_sampling_seed: Hidden[int] = 42
    fps_reset_every: Hidden[int] = 100


class GarvDataManager(DataManager):
    """The frames of one video. In `test_mode` "inference" nothing is read before it is asked for."""

    config: GarvDataManagerConfig
    includes_time = True  # gives the viewer its time slider

    def __init__(
        self,
        config: GarvDataManagerConfig,
        device: torch.device | str = "cpu",
        test_mode: Literal["test", "val", "inference"] = "val",
        world_size: int = 1,
        local_rank: int = 0,
        **kwargs,
    ) -> None:
        self.config = config
        self.device = device
        self.test_mode = test_mode
        self.test_split = "test"
        self.world_size = world_size
        self.local_rank = local_rank
        if config.data is None:
            config.data = config.dataparser.data
        config.dataparser.data = Path(config.data)
        self.dataparser: VideoDataParser = config.dataparser.setup()
        if test_mode != "inference":
            self.dataparser.read()
        self._make_datasets()
        super().__init__()
        self._sampler: FrameSampler | None = None
        self._seen: SeenFrames | None = None

    def adopt(self, info: VideoInfo) -> None:
        """Take the video's size from a checkpoint (see `VideoDataParser.adopt`)."""
        self.dataparser.adopt(info)
        self._make_datasets()

    def prepare_training(self, fit: FitConfig) -> None:
        """Move the frames to the device and fix the order in which they are seen."""
        self._seen = seen_frames(self.dataparser.read().frames, fit).to(self.device)
        self._sampler = FrameSampler(len(self._seen), fit.batch_frames, fit.seed, self.device)

    def training_frames(self) -> SeenFrames:
        """What is fitted, on the device."""
        if self._seen is None:
            raise RuntimeError("prepare_training comes first")
        return self._seen

    def next_train(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Times [B] in frames in place of rays, and the frames {"image": [B, H, W, C] uint8}; nothing waits."""
        indices = self.train_batch(step)
        return self._seen.times[indices], {"image": self._seen.frames[indices]}

    def train_batch(self, step: int) -> Tensor:
        """Indices [B] among the frames that are fitted of those that step `step` sees, on the device."""
        self.train_count += 1
        return self._sampler.batch(step)

    def next_eval(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """One frame, in the form of `next_train`."""
        frame = self._next_eval_frame()
        times = torch.full((1,), frame + 0.5, device=self.device)
        return times, {"image": self._frame(frame)[None]}

    def next_eval_image(self, step: int) -> tuple[Cameras, dict[str, Tensor]]:
        """One frame and its camera."""
        frame = self._next_eval_frame()
        camera = self.eval_dataset.cameras[frame : frame + 1].to(self.device)
        return camera, {"image": self._frame(frame)}

    def get_train_rays_per_batch(self) -> int:
        """Pixels a step."""
        height, width = self._seen.frames.shape[1:3]
        return self._sampler.batch_frames * height * width

    def get_eval_rays_per_batch(self) -> int:
        """Pixels of a frame."""
        height, width = self._seen.frames.shape[1:3]
        return height * width

    def get_datapath(self) -> Path:
        """The video; the viewer keeps camera paths beside it."""
        return Path(self.config.data)

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """Nothing here is trained."""
        return {}

    def setup_train(self) -> None:
        """Nothing to do: `prepare_training` needs the fit's settings."""

    def setup_eval(self) -> None:
        """Nothing to do."""

    def _next_eval_frame(self) -> int:
        self.eval_count += 1
        return (self.eval_count - 1) % self.dataparser.read().info.frames

    def _frame(self, frame: int) -> Tensor:
        """[H, W, C] uint8 on the device, of any frame of the video."""
        return self.dataparser.read().frames[frame].to(self.device)

    def _make_datasets(self) -> None:
        self.train_dataparser_outputs = self.dataparser.get_dataparser_outputs(split="train")
        self.train_dataset = VideoDataset(self.train_dataparser_outputs, self.dataparser.read)
        self.eval_dataset = self.train_dataset
