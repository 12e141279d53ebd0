"""DAVIS's clips at high rates (table 3).

python examples/benchmarks/paper/davis.py clips/ --output results/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from decoding_cost import DecodingCost
from experiment import Figure, Row, main, mean

DAVIS = {"clip": "DAVIS 480p", "device": "RTX A4000"}


@dataclass
class Davis(DecodingCost):
    """Every clip at a high rate and a lower one, and the mean over the clips; measured as in "Cost of decoding"."""

    bpp: tuple[float, ...] = (1.0, 0.3)
    """rates of the files"""

    name: ClassVar[str] = "davis"
    title: ClassVar[str] = "Clips of DAVIS (table 3)"
    paper: ClassVar[list[Row]] = [
        {"by": "GaRV", **DAVIS, "bpp": 1.0, "psnr": 34.0, "alone_fps": 350, "alone_mb": 70},
        {"by": "GaussianVideo (Bond)", **DAVIS, "bpp": 2.0, "psnr": 33.8},
        {"by": "VeGaS", **DAVIS, "bpp": 3.0, "psnr": 33.3},
    ]

    def overall(self, rows: list[Row]) -> list[Row]:
        """Means of every rate."""
        means = []
        for bpp in self.bpp:
            some = [row for row in rows if row["wanted_bpp"] == bpp]
            label = f"mean of {len(some)} clips"
            means.append({"clip": label, "wanted_bpp": bpp, **{key: mean(some, key) for key in self.columns}})
        return means

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """A point a clip and rate, the means last."""
        axes = figure.add_subplot()
        for bpp in self.bpp:
            some = [row for row in rows if row["wanted_bpp"] == bpp]
            axes.plot([row["clip"] for row in some], [row["psnr"] for row in some], "o", label=f"{bpp:g} bpp")
        axes.tick_params("x", rotation=20, labelsize=7)
        axes.set(ylabel="PSNR (dB)")
        axes.grid(alpha=0.3)
        axes.legend()

    def summary(self, rows: list[Row]) -> str:
        """The means."""
        means = rows[-len(self.bpp) :]
        return ", ".join(f"{row['psnr']:.2f} dB at {row['bpp']:.2f} bpp" for row in means) + f" ({means[0]['clip']})"


if __name__ == "__main__":
    main(Davis)
