"""The frames as an nerfstudio dataset."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.datasets.base_dataset import InputDataset

from garv_gsplat.video import Video


class VideoDataset(InputDataset):
    """Frames of a video that is decoded when the first of them is asked for."""

    def __init__(self, dataparser_outputs: DataparserOutputs, read: Callable[[], Video]) -> None:
        super().__init__(dataparser_outputs)
        self._read = read

    def get_numpy_image(self, image_idx: int) -> np.ndarray:
        """Frame `image_idx`, [H, W, 3] uint8."""
        return self._read().frames[image_idx].numpy()
