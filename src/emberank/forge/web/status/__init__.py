"""/status: what runs now, and how it went lately."""
