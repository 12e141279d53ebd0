"""nerfstudio's methods garv, garv-small, garv-large and garv-paper: the only code that imports nerfstudio or gsplat.

`garv_gsplat.method_configs` is what nerfstudio loads in every ns-* command. Nothing here loads the compiled libraries
before the first frame is rendered, so a library that does not load cannot break a command of another method.
"""
