"""People look at proposed clips; each decision is a line of a CSV, and a manifest follows."""
