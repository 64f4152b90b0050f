"""Sign-in with an OpenID Connect provider: settings, a browser's way there and back, the provider's word checked, a person with rights out."""
