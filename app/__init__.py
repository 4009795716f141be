"""The bank's counter: HTTP in, rows out. Everything numerical goes through ``app.engine``."""
