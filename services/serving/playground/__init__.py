"""Answers for people who try models, and what they think of them."""
