"""Turn a network in eval mode into an integer graph."""
