"""A file of examples: its rows, what is wrong with them, and what they look like."""
