"""One visible training loop and its collaborators."""
