"""Each network written once, over the small set of operations in ops.py; every engine supplies the operations."""
