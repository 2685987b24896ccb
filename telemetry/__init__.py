"""Log records and traces of Muster's work, without personal data."""
