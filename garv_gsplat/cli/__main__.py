"""`python -m garv_gsplat.cli`, for where scripts are not on the path."""

from __future__ import annotations

import sys

from garv_gsplat.cli import main

sys.exit(main())
