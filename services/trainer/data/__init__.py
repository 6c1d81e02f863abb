"""Rows: read and checked, split, rendered and turned into tokens."""
