"""/account: who is signed in, keys, and what a month has cost."""
