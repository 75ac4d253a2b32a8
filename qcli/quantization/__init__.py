"""Quantizers, the plan that places them, and the surgery that carries it out."""
