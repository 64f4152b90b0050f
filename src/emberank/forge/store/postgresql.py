"""The address of a PostgreSQL database in, an engine for it out: bounded waits, a lost connection made again. Knows no table."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from emberank.forge.store.address import Address

# Where the URL says otherwise, the URL holds. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
PARAMETERS: dict[str, str | int] = {
    "connect_timeout": 5,
    "application_name": "emberank-forge",
    # A server that vanished without a word is noticed within half a minute, not after the system's two hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
STATEMENT_TIMEOUT_MS = 60_000
# The same from the server's side: the session, and with it the lock, of a forge whose machine lost its power is not kept for hours.
SESSION: dict[str, int] = {
    "statement_timeout": STATEMENT_TIMEOUT_MS,
    "idle_in_transaction_session_timeout": STATEMENT_TIMEOUT_MS,
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
}

FORGE = 0x656D6265  # "embe": what our advisory locks are called, so that they meet no other program's
ROUND = "coalesce(hashtext(current_schema()), 0)"  # two installations may share a database in schemas of their own


def engine(address: Address, busy_timeout_s: float) -> Engine:
    """An engine with one connection, which is asked whether it lives before it is used again."""
    made = create_engine(
        address.url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=1.0,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={name: value for name, value in PARAMETERS.items() if name not in address.url.query},
    )
    lock_timeout_ms = max(1, round(busy_timeout_s * 1000))  # 0 would be for ever

    def set_up(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for name, value in {**SESSION, "lock_timeout": lock_timeout_ms}.items():
            cursor.execute(f"SET {name} = {value}")
        cursor.close()
        connection.commit()

    event.listen(made, "connect", set_up)
    return made


def first_contact(made: Engine, _busy_timeout_s: float) -> None:
    """Find out whether it can be reached."""
    made.connect().close()


def take_lock(connection: Connection) -> bool:
    """The forge's lock, held by the session until it ends."""
    return bool(connection.scalar(text(f"SELECT pg_try_advisory_lock({FORGE}, {ROUND})")))


def one_at_a_time(connection: Connection) -> None:
    """Wait until no other process migrates this database, then take as long as it needs; until the transaction ends."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text(f"SELECT pg_advisory_xact_lock({FORGE + 1}, {ROUND})"))
