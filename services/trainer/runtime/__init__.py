"""What the phases of a run share: its context, its checkpoints, its way to stop and to ask."""
