"""How it is written: one file per dialect, bytes ↔ contract, both directions. Pure: no I/O, no state."""
