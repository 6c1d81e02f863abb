"""Who may call the endpoint, how much, and what was used."""
