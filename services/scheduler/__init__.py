"""Owns profiles, nodes, jobs and leases: which run goes where, when, and who holds it."""
