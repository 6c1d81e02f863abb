"""Where runs execute: on this machine, or on a cluster. See `engine` for what all of them do."""
