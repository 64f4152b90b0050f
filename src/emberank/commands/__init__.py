"""One file a command: what it says of itself, its flags, and what it calls. Heavy modules are imported when a command runs."""
