"""What stands in for a missing value: GAIN by its paper's protocol, its rivals, and what each does for default risk."""
