"""The slices against the definition: eq. 2 through the inverse of the 3x3 covariance, summed densely."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.ops.scenes import IMAGE, INFINITE, Scene, draw, draw_reference, lists, random_scene

FLOAT64 = 1e-12


def dense(scene: Scene) -> Tensor:
    """Eq. 2 at every pixel and frame centre, in float64: no slicing, no tiles."""
    scene = scene.to("cpu").to(torch.float64)
    factor = scene.means.new_zeros(len(scene.means), 3, 3)  # axis order (t, x, y)
    factor[:, [0, 1, 2, 1, 2, 2], [0, 0, 0, 1, 1, 2]] = scene.cholesky
    inverse = torch.linalg.inv(factor @ factor.mT)
    y, x = torch.meshgrid(
        torch.arange(scene.height, dtype=torch.float64) + 0.5,
        torch.arange(scene.width, dtype=torch.float64) + 0.5,
        indexing="ij",
    )
    points = torch.stack([torch.stack([t.expand_as(x), x, y], -1) for t in scene.times])
    offsets = points[..., None, :] - scene.means[:, [2, 0, 1]]
    distances = torch.einsum("bhwni,nij,bhwnj->bhwn", offsets, inverse, offsets)
    return torch.exp(-0.5 * distances) @ scene.colors


def scene_of_full_scale() -> Scene:
    scene = random_scene(40, 25, n=60, cutoff=INFINITE, smallest=0.8)
    scene.colors /= dense(scene).abs().max()
    return scene


def test_operators_equal_the_definition(device):
    scene = scene_of_full_scale()
    image = draw(scene.to(device))
    torch.testing.assert_close(image.cpu().double(), dense(scene), rtol=0, atol=IMAGE[device.type])


@pytest.mark.parametrize("drawing", [draw, draw_reference])
def test_double_precision_equals_the_definition(drawing):
    scene = scene_of_full_scale().to(torch.float64)
    torch.testing.assert_close(drawing(scene, lists(scene)), dense(scene), rtol=0, atol=FLOAT64)
