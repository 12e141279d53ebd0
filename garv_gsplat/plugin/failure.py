"""How a nerfstudio command ends over what the user gave it."""

from __future__ import annotations

import sys
from typing import NoReturn


def refuse(message: str) -> NoReturn:
    """One line on stderr, as the command `garv` writes it, and exit code 2."""
    sys.stderr.write(f"garv: {message}\n")
    raise SystemExit(2)
