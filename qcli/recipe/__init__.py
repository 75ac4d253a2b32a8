"""Recipes: JSON that is read, checked, completed with defaults and frozen. No torch in here."""
