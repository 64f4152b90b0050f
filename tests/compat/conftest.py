"""The clients' tests need their packages, which live in an environment of their own: `make test-clients`."""

collect_ignore = ["clients"]
