"""Brings the processes up on this machine, keeps them running, and ends them."""
