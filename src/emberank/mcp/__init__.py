"""A model catalogue in, tools for an agent out: the Model Context Protocol beside HTTP. Knows no gateway; the Python client is its only way to one."""
