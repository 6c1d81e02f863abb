"""What commands print: each thing as a person wants to see it."""
