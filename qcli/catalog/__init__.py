"""The catalog: which plugins offer what. No torch in here."""
