"""The verbs that concern the data; ``cli.py`` puts them together."""
