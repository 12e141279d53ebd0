"""How fast and how exact the renderer is here: what `garv bench` runs.

Every output is compared with a double-precision reference without culling before it is timed, and what was achieved is
set beside what the device was seen to do in the same run.
"""
