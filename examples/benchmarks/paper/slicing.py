"""What slicing and culling save (section 3.2.2).

python examples/benchmarks/paper/slicing.py clips/ --output results/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from experiment import Clip, Experiment, Figure, Row, bits_per_pixel, main

from garv_gsplat.bench.ablation import AblationRow, run_ablation
from garv_gsplat.bench.cases import Settings
from garv_gsplat.bench.checking import Bounds
from garv_gsplat.bench.targets import read_target
from garv_gsplat.bench.timing import Patience
from garv_gsplat.fitting import FitConfig
from garv_gsplat.rendering import DECODING_TAU


@dataclass
class Slicing(Experiment):
    """Equation 2 evaluated directly, every Gaussian at every pixel, against slices (equation 3), then the culls one
    after the other, to what decoding does. One frame at a time, on a crop from the middle that is small enough for the
    first row. PSNR is that against equation 3 in double precision with nothing left out: what the step loses. It is
    what `garv bench --ablation` shows."""

    bpp: float = 0.06
    """rate of the files"""

    name: ClassVar[str] = "slicing"
    title: ClassVar[str] = "Slicing and culling (section 3.2.2)"
    columns: ClassVar[dict[str, tuple[str, str]]] = {
        "bpp": ("bpp", ".3f"),
        "size": ("crop", ""),
        "variant": ("variant", ""),
        "implementation": ("in", ""),
        "frame_ms": ("frame, ms", ".3f"),
        "psnr": ("PSNR against exact, dB", ".1f"),
    }
    paper: ClassVar[list[Row]] = []

    def measure(self, clip: Clip) -> Iterator[Row]:
        """A row a variant."""
        path = self.encode(clip, self.bpp)
        settings = Settings(self.where, batches=(1,), tau=DECODING_TAU, fit_tau=FitConfig().tau, crop=None)

        def show(done: int, total: int, variant: str) -> None:
            self.note(f"{clip.path.stem}: {variant} ({done + 1} of {total})")

        table = run_ablation(read_target(path), settings, bounds=Bounds(), patience=Patience(), progress=show)
        for row in table.rows:
            yield {"bpp": bits_per_pixel(path), "size": f"{table.width}x{table.height}", **_facts(row)}

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """The first clip's times."""
        some = [row for row in rows if row["clip"] == rows[0]["clip"]][::-1]
        axes = figure.add_subplot()
        bars = axes.barh(
            [f"{row['variant']}\n({row['implementation']})" for row in some], [r["frame_ms"] for r in some]
        )
        axes.bar_label(bars, [f"{row['frame_ms']:.3g} ms, {row['psnr']:.0f} dB" for row in some], padding=3, fontsize=8)
        axes.set(xscale="log", xlabel="ms a frame", title=f"{rows[0]['clip']}, {rows[0]['size']}")
        axes.set_xlim(right=30 * max(row["frame_ms"] for row in some))
        axes.tick_params("y", labelsize=7)

    def summary(self, rows: list[Row]) -> str:
        """First and last row of the first clip."""
        some = [row for row in rows if row["clip"] == rows[0]["clip"]]
        return (
            f"{some[0]['clip']}: {some[0]['frame_ms']:.3g} ms by equation 2, {some[-1]['frame_ms']:.3g} ms as decoded"
        )


def _facts(row: AblationRow) -> Row:
    return {
        "variant": row.variant,
        "implementation": row.implementation,
        "frame_ms": 1e3 * row.per_frame.median,
        "psnr": row.psnr,
        "tau": row.tau,
    }


if __name__ == "__main__":
    main(Slicing)
