"""The laws that a plugin must obey, for its author to run."""
