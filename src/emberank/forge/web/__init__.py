"""The pages that people see: templates, static files and the values in them, rendered on the server. What a page says comes from the same functions as the API's answers."""
