"""The peers, each used the way its own documentation does it. Each module needs its peer alone."""
