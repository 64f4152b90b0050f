"""What runs a network: packed token ids in, hidden states out. base.py is the contract, registry.py names the members."""
