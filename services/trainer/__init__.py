"""Leases runs and executes them, each in a process of its own: data in, adapter and report out."""
