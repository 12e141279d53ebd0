"""Small fits in this process, which the tests of the plugin share."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest
from nerfstudio.configs.method_configs import all_methods
from nerfstudio.utils import writer

from garv_gsplat.plugin.trainer import GarvTrainer, GarvTrainerConfig
from tests.media import make_video

GAUSSIANS, STEPS, FRAMES = 200, 30, 12

Configure = Callable[..., GarvTrainerConfig]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of 64x48."""
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4")


@pytest.fixture(scope="session")
def configure(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Configure:
    """A small fit's config as ns-train would make it; keyword arguments set its fields."""

    def make(method: str = "garv", data: Path = clip, steps: int = STEPS, **fields) -> GarvTrainerConfig:
        config = deepcopy(all_methods[method])
        config.pipeline.datamanager.data = data
        config.pipeline.model.fit.num_gaussians = GAUSSIANS
        config.machine.device_type = "cpu"
        config.output_dir = tmp_path_factory.mktemp("outputs")
        config.max_num_iterations = steps
        config.vis = "tensorboard"
        config.viewer.quit_on_train_completion = True
        for name, value in fields.items():
            setattr(config, name, value)
        config.set_timestamp()
        return config

    return make


def start(config: GarvTrainerConfig) -> GarvTrainer:
    """What ns-train does up to the first step."""
    writer.EVENT_WRITERS.clear()  # nerfstudio keeps those of every trainer of the process
    writer.EVENT_STORAGE.clear()
    config.save_config()
    trainer = config.setup(local_rank=0, world_size=1)
    trainer.setup()
    return trainer


@pytest.fixture(scope="session")
def trained(configure: Configure) -> Iterator[GarvTrainer]:
    """A finished fit, with the viewer running."""
    config = configure(vis="viewer+tensorboard")
    config.viewer.websocket_port = free_port()
    config.steps_per_eval_batch = config.steps_per_eval_image = config.steps_per_eval_all_images = 20
    trainer = start(config)
    trainer.train()
    yield trainer
    trainer.shutdown()


@pytest.fixture(scope="session")
def config_path(trained: GarvTrainer) -> Path:
    return trained.base_dir / "config.yml"
