"""One folder per process, and what they share."""
