"""/playground/{slug}, and the section of the model page."""
