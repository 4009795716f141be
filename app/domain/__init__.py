"""The nouns, as frozen and validated values. No input or output of any kind."""
