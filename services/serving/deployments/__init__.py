"""Aliases: which version answers under which name, and how that changes."""
