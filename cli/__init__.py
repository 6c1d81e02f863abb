"""The `attune` command and the local launcher: a client of the services like any other."""
