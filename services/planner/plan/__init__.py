"""From the brief and the data to a complete plan."""
