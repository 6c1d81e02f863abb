"""The command `demo`, a file per part of the journey."""
