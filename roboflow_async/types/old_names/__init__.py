"""Modules that went elsewhere and are still imported as modules of `roboflow_async`, until 1.0.

`roboflow_async/__init__.py` adds this folder to where Python looks for the package's modules.
"""
