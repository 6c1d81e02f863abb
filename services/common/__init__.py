"""What at least two services need and no service owns. Knows no service and imports none."""
