"""What a message says: from words to a patch of the brief."""
