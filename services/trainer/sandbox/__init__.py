"""Runs code that nobody has read: an interpreter behind walls of the operating system.

`box` is the side that asks; `interpreter` is the side behind the walls, and imports only `walls`
and the standard library; `probe` tries to break out before anything else may run there.
"""
