"""The methods that nerfstudio finds (entry points "nerfstudio.method_configs"): garv and its presets.

nerfstudio loads this in every ns-* command and does not survive an error here, so a plugin that cannot be imported
becomes the reason why, which nerfstudio prints as a warning before it goes on without these methods.
"""

from __future__ import annotations

from nerfstudio.plugins.types import MethodSpecification

NAMES = {"garv": "garv", "garv_small": "garv-small", "garv_large": "garv-large", "garv_paper": "garv-paper"}
__all__ = list(NAMES)


def _specifications() -> dict[str, MethodSpecification | str]:
    try:
        from garv_gsplat.plugin.export import add_to_exporter
        from garv_gsplat.plugin.methods import specification
    except (ImportError, OSError) as error:
        return dict.fromkeys(NAMES, f"garv-gsplat is off, it does not load: {error}")
    add_to_exporter()
    return {attribute: specification(name) for attribute, name in NAMES.items()}


globals().update(_specifications())
