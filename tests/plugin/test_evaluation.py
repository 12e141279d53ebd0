"""evaluate: what ns-eval reports of the bytes of a `.garv`."""

from __future__ import annotations

import pytest
import torch

from garv_gsplat import VideoDecoder, VideoGaussians, VideoInfo, codec
from garv_gsplat.plugin.evaluation import evaluate


def test_rate_and_quality_are_of_the_file_without_its_sound(tmp_path):
    info = VideoInfo(32, 16, 4)
    gaussians = VideoGaussians(torch.rand(5, 3), torch.full((5, 6), 0.1), torch.rand(5, 3), info)
    data = codec.encode(gaussians, tracks=bytes(3000))
    results = evaluate(data, VideoDecoder(data, device="cpu", dimension_order="NHWC")[:], "cpu", tmp_path / "images")
    assert results["bpp"] == 8 * (len(data) - 3000) / (32 * 16 * 4)
    assert (results["psnr"], results["temporal_consistency"]) == (100, 100)
    assert len(list((tmp_path / "images").iterdir())) == 4
    with pytest.raises(ValueError, match="frames must be"):
        evaluate(data, torch.zeros(3, 16, 32, 3, dtype=torch.uint8), "cpu")
