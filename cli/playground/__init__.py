"""Trying models: the commands `compare`, `generate` and `exchange`."""
