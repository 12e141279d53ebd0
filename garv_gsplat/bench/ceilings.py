"""What the device can do, measured here: copying, and the arithmetic of Gaussian-pixel pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from garv_gsplat.bench.timing import Patience, measure_throughput

PAIR_FMAS = 8
"""multiply-adds that one pair is counted as: 4 for the exponent, 3 for the colour, 1 to step to the next pixel"""

_COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28}  # far beyond any cache
_PATIENCE = Patience()  # long enough that other programs leave some samples alone
_LOOP = 512
_ELEMENTS = 1 << 22
_PAIR_KERNEL = f"""
template <typename T> T garv_pair_loop(T seed) {{
  float x = seed, a = -seed, b = seed * 0.25f, c = -0.5f, red = 0.f, green = 0.f, blue = 0.f, w;
  #pragma unroll 16
  for (int i = 0; i < {_LOOP}; ++i) {{
    float q = __fmaf_rn(a, x, b);
    q = __fmaf_rn(q, x, c);
    q = __fmaf_rn(b, x, q);
    q = __fmaf_rn(q, a, c);
    asm volatile("ex2.approx.ftz.f32 %0, %1;" : "=f"(w) : "f"(q));
    red = __fmaf_rn(w, a, red);
    green = __fmaf_rn(w, b, green);
    blue = __fmaf_rn(w, c, blue);
    x = __fmaf_rn(x, b, a);
  }}
  return red + green + blue;
}}
"""


@dataclass(frozen=True)
class Ceilings:
    """Rates that the device reached in this run."""

    bytes_per_s: float
    """of a large copy within the device, read and written bytes both counted"""
    pairs_per_s: float
    """of a loop that does nothing but a pair's arithmetic; a renderer that needs less a pair can pass it"""
    bytes_method: str
    """how the first was measured"""
    pairs_method: str
    """how the second was measured"""


def measure_ceilings(device: torch.device) -> Ceilings:
    """Measure both; takes one or two seconds, and 2 GiB of a GPU."""
    size = _COPY_BYTES[device.type]
    pairs, method = (_cuda_pairs if device.type == "cuda" else _cpu_pairs)(device)
    return Ceilings(
        bytes_per_s=_copy(size, device),
        pairs_per_s=pairs,
        bytes_method=f"copy of {size >> 20} MiB within the device, read + written bytes, fastest sample",
        pairs_method=method,
    )


def _copy(size: int, device: torch.device) -> float:
    source = torch.empty(size // 8, dtype=torch.int64, device=device).random_()
    target = torch.empty_like(source)
    return 2 * size / measure_throughput(lambda: target.copy_(source), device, _PATIENCE).fastest


def _cuda_pairs(device: torch.device) -> tuple[float, str]:
    """A kernel of registers alone: torch's own operators would be bound by memory."""
    loop = torch.cuda.jiterator._create_jit_fn(_PAIR_KERNEL)
    seeds = torch.rand(_ELEMENTS, device=device)
    with torch.cuda.device(device):
        seconds = measure_throughput(lambda: loop(seeds), device, _PATIENCE).fastest
    pair = f"{PAIR_FMAS} float32 FMA + 1 ex2.approx a pair"
    return _ELEMENTS * _LOOP / seconds, f"kernel compiled by torch's jiterator, {pair}, in registers, fastest sample"


def _cpu_pairs(device: torch.device) -> tuple[float, str]:
    """torch has no loop that stays in registers, but its matrix product reaches the FMA rate; exp2 is added to it."""
    side, count = 1024, 1 << 20
    matrix, out = torch.rand(side, side), torch.empty(side, side)
    values, powers = -torch.rand(count), torch.empty(count)

    def rate(run: Callable[[], object], operations: int) -> float:
        return operations / measure_throughput(run, device, _PATIENCE).fastest

    fmas = rate(lambda: torch.mm(matrix, matrix, out=out), side**3)
    exps = rate(lambda: torch.exp2(values, out=powers), count)
    method = (
        f"from torch's rates: {PAIR_FMAS} FMA of a {side}x{side} float32 matrix product "
        f"({fmas:.3g}/s) + 1 torch.exp2 in cache ({exps:.3g}/s) one after the other, fastest samples"
    )
    return 1 / (PAIR_FMAS / fmas + 1 / exps), method
