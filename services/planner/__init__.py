"""Owns conversations, datasets, specs and approvals: from a sentence to a plan worth approving."""
