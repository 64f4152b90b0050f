"""/docs…: the documentation, a search, all routes, and the API to try out."""
