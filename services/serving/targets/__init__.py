"""Deploy targets: one file for each, behind one interface."""
