"""The door: many models, many dialects, one port. No weights, no database."""
