"""The tables.

A change here needs a migration in `qcov/store/migrations/versions`; a test compares the two.
Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

_Large = BigInteger().with_variant(Integer, "sqlite")  # whose integers are all of 64 bits

dispatches = Table(
    "dispatches",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("key", Text, unique=True),  # the user's idempotency key
    Column("root_id", String(36), nullable=False),
    Column("parent_id", String(36)),  # for a sublattice: who waits for it
    Column("parent_node", Integer),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("error", Text),
    Column("inputs_repr", Text, nullable=False),  # JSON: args and kwargs
    Column("manifest", String(64), nullable=False),  # blob: the graph as JSON
    Column("manifest_seal", String(64), nullable=False),
    Column("result", String(64)),  # blob
    Column("result_seal", String(64)),
    Column("result_repr", Text),
    Column("nodes_total", Integer, nullable=False),
    # where engines share a database: who runs it, how often that has changed, until when, by the
    # database's clock; and what another engine was asked to cancel (JSON: node ids, null for all)
    Column("owner", String(80)),
    Column("epoch", Integer),
    Column("lease_ends", Float),
    Column("cancel_requested", Text),
    Column("environment", String(64)),  # what it runs in
    # one child per node: the first one wins, a retry goes on with the child that stands
    UniqueConstraint("parent_id", "parent_node"),
    Index("dispatches_by_created", "created"),
    Index("dispatches_by_status", "status"),
)

nodes = Table(
    "nodes",
    metadata,
    Column(
        "dispatch_id", String(36), ForeignKey("dispatches.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("node_id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("executor", String(64)),
    Column("attempt", Integer, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("error", Text),
    Column("output", String(64)),  # blob
    Column("output_seal", String(64)),
    Column("value_repr", Text),
    Column("stdout", Text),
    Column("stderr", Text),
    Column("sub_dispatch_id", String(36)),
    Column("output_key", String(64)),  # what the output is known by, if its digest does not say it
    Column("reused_from", String(36)),  # the dispatch that has computed the output
)

attempts = Table(  # of nodes, those that failed and were followed by another one
    "attempts",
    metadata,
    Column(
        "dispatch_id", String(36), ForeignKey("dispatches.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("node_id", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("started", Float),
    Column("ended", Float),
    Column("error", Text),
)

memo = Table(
    "memo",
    metadata,
    Column("key", String(64), primary_key=True),  # of an electron's code and inputs
    Column("output", String(64), nullable=False),  # blob
    Column("output_seal", String(64), nullable=False),
    Column("output_key", String(64)),
    Column("value_repr", Text),
    Column("dispatch_id", String(36), nullable=False),  # which one has computed it
    Column("created", Float, nullable=False),
)

triggers = Table(
    "triggers",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("dispatch_id", String(36), nullable=False),  # maybe another engine's
    Column("name", Text, nullable=False),
    Column("object", String(64), nullable=False),  # blob
    Column("object_seal", String(64), nullable=False),
    Column("environment", Text, nullable=False),  # JSON
    Column("status", String(16), nullable=False),  # ACTIVE, STOPPED or FAILED
    Column("error", Text),
    Column("created", Float, nullable=False),
    Column("owner", String(80)),  # as of dispatches
    Column("lease_ends", Float),
    Index("triggers_by_dispatch", "dispatch_id"),
)

trigger_dispatches = Table(
    "trigger_dispatches",
    metadata,
    Column("trigger_id", String(36), primary_key=True),
    Column("dispatch_id", String(36), primary_key=True),  # that it has started
    Column("created", Float, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("size", _Large, nullable=False),
    Column("data", LargeBinary),  # null: the bytes are in a file of that name
)

circuits = Table(
    "circuits",
    metadata,
    Column("number", _Large, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column(
        "dispatch_id", String(36), ForeignKey("dispatches.id", ondelete="CASCADE"), nullable=False
    ),
    Column("node_id", Integer, nullable=False),
    Column("executor", Text, nullable=False),
    Column("device", Text),
    Column("execution_time", Float),
    Column("structure", String(64)),
    Column("record", LargeBinary, nullable=False),  # msgpack of the rest of the record
    Column("status", String(16), nullable=False, server_default="COMPLETED"),  # or FAILED
    Index("circuits_by_node", "dispatch_id", "node_id", "executor"),
    Index("circuits_by_number", "dispatch_id", "number"),
    Index(  # all that summaries and sorting need; it grows at few places, which costs little
        "circuits_by_executor",
        *("dispatch_id", "executor", "device", "number", "execution_time"),
    ),
    Index(  # they are few: it costs the others nothing
        "circuits_failed",
        *("dispatch_id", "number", "node_id", "executor"),
        sqlite_where=text("status = 'FAILED'"),
        postgresql_where=text("status = 'FAILED'"),
    ),
)

environments = Table(
    "environments",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("described", Text, nullable=False),  # JSON
)

structures = Table(
    "structures",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("text", Text, nullable=False),
)

commits = Table(  # where engines share a database: which transaction each has committed last
    "commits",
    metadata,
    Column("owner", String(80), primary_key=True),
    Column("token", String(32), nullable=False),  # the transaction's, known to its engine alone
)

sealing = Table(
    "sealing",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # 1: there is one row
    Column("sign", String(64), nullable=False),  # of the key that seals; it does not tell the key
)
