"""The control plane: wishes in, running endpoints out."""
