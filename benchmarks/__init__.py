"""Commands that measure Thetaprime; each writes a table and a plot to docs/results."""
