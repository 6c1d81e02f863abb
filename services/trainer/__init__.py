"""Leases runs and executes them, and owns base models, tokenizers and chat templates.

A run is a process of its own; the service supervises it, answers from the files it writes, and
keeps no database.
"""
