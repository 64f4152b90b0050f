"""/signin…: by link, by key, by an OpenID Connect provider."""
