"""The plan as an object: paths, rules, edits, differences, hash."""
