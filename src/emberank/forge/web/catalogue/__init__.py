"""/: the catalogue of all models, as cards or as a table."""
