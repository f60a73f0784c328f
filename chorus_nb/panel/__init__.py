"""The display: a gauge above each cell's output, and a panel of all sessions.

Import from the modules: `gauge` is light, `panel` brings ipywidgets along.
"""
