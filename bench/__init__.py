"""One file per claim about speed or accuracy; each prints a table and writes JSON."""
