"""What the forge must remember in, the same back after a restart: keys, usage, samples, deployments. The only place with SQL; knows no HTTP and no clock."""

from emberank.forge.store.address import Address, parse_address
from emberank.forge.store.errors import StoreUnavailable
from emberank.forge.store.store import Keep, Store, open_store

__all__ = ["Address", "Keep", "Store", "StoreUnavailable", "open_store", "parse_address"]
