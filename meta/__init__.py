"""The mathematics: tensors in, tensors out. No web, no database; seeds are passed in, never global."""
