"""The tables of each measurement."""

import math
from collections.abc import Sequence

from laptop.bench import muster, peer
from laptop.bench.bill import CUSTOMERS, MONTHS, Bill
from laptop.bench.comparison import CONCURRENCY, Figure, Measurements, per_second
from laptop.bench.concurrency import Concurrency
from laptop.bench.console import PageTimes
from laptop.bench.cosmos import REPEATS, CosmosCost
from laptop.bench.end_to_end import TENANTS, USERS, EndToEnd
from laptop.bench.fan_out import FanOut
from laptop.bench.feed import FeedTimes
from laptop.bench.micro import Cost
from laptop.bench.report import Table
from laptop.bench.scale import Scale
from laptop.bench.walks import Walk


def micro_table(costs: Sequence[Cost]) -> Table:
    """The pure core."""
    return Table(
        "Pure core: times what a hand-declared pydantic model takes to parse the user",
        ("operation", "Muster", "scim2-models", "pydantic"),
        tuple(
            (operation, *(_cell(costs, operation, who) for who in ("Muster", "scim2", "pydantic")))
            for operation in dict.fromkeys(cost.operation for cost in costs)
        ),
    )


def _cell(costs: Sequence[Cost], operation: str, implementation: str) -> str:
    found = [c for c in costs if c.operation == operation and implementation in c.implementation]
    return f"{found[0].ratio:.1f} ({found[0].seconds * 1e6:,.0f} µs)" if found else ""


def comparison_table(measured: Measurements) -> Table:
    """Muster beside the other server."""
    plan = measured.plan
    rounds = f"{plan.rounds} rounds of {plan.seconds:g} s, longer where requests take long"
    notes = [f"{CONCURRENCY} connections, {rounds}; medians.", *measured.notes]
    notes += [
        f"{name} ends with {memory / 1e6:.0f} MB in memory."
        for name, memory in measured.memory.items()
        if memory is not None
    ]
    return Table(
        f"{muster.NAME} | {peer.NAME}",
        (
            "operation",
            "requests/s",
            "times as many",
            "p50 ms",
            "p99 ms",
            "CPU ms",
            "CPU ms, reconciled",
            "CPU ratio",
        ),
        tuple((name, *_figures(measured, name)) for name in measured.operations),
        " ".join(notes),
    )


def _figures(measured: Measurements, operation: str) -> list[str]:
    def both(figure: Figure, form: str, factor: float = 1) -> str:
        figures = (measured.median(name, operation, figure) for name in (muster.NAME, peer.NAME))
        return " | ".join(_number(_times(each, factor), form) for each in figures)

    ours, theirs = (muster.NAME, operation), (peer.NAME, operation)
    whole = measured.median(muster.NAME, operation, lambda s: s.whole_cpu_per_request)
    return [
        both(per_second, ",.4g"),
        _number(measured.ratio(ours, theirs, per_second), ",.1f"),
        both(lambda s: s.sample.percentile(0.50), ",.2f", 1000),
        both(lambda s: s.sample.percentile(0.99), ",.1f", 1000),
        both(lambda s: s.cpu_per_request, ",.3f", 1000),
        _number(_times(whole, 1000), ",.3f"),
        _number(measured.ratio(theirs, ours, lambda s: s.cpu_per_request), ",.1f"),
    ]


def flatness_table(measured: Measurements) -> Table:
    """How much more a change to a large group costs Muster than one to a small group."""
    groups = [name for name in measured.operations if name.startswith("PATCH member")]
    smallest = (muster.NAME, groups[0])
    figures: dict[str, Figure] = {
        "time per request": lambda s: 1 / s.sample.per_second,
        "p50": lambda s: s.sample.percentile(0.5),
        "CPU": lambda s: s.cpu_per_request,
        "CPU, reconciled": lambda s: s.whole_cpu_per_request,
    }
    return Table(
        "Flatness: one member more or less, as a multiple of what it costs in the smallest group",
        ("operation", *figures),
        tuple(
            (
                name,
                *(
                    _number(measured.ratio((muster.NAME, name), smallest, figure), ".2f")
                    for figure in figures.values()
                ),
            )
            for name in groups[1:]
        ),
        "At most 1.2 is the target.",
    )


def bars(measured: Measurements) -> str:
    """Requests per second as bars of text, on a logarithmic scale."""
    servers = (muster.NAME, peer.NAME)
    width = max(map(len, servers))
    lines: list[str] = []
    for operation in measured.operations:
        lines.append(operation)
        for server in servers:
            rate = measured.median(server, operation, per_second) or 0.0
            length = max(1, round(12 * (1 + math.log10(max(rate, 0.1)))))
            lines.append(f"  {server:<{width}}  {'█' * length} {rate:,.4g}/s")
    return "\n".join(lines)


def _times(figure: float | None, factor: float) -> float | None:
    return None if figure is None else figure * factor


def _number(figure: float | None, form: str) -> str:
    return "" if figure is None else format(figure, form)


def fan_out_table(measured: FanOut) -> Table:
    """One mapping on one large group."""
    peak = _number(_times(measured.peak, 1e-6), ",.0f")
    return Table(
        f"Fan-out: a mapping on a group of {measured.users:,} users",
        ("figure", "value"),
        (
            ("users/s", f"{measured.users / measured.seconds:,.0f}"),
            ("seconds until the last one", f"{measured.seconds:,.1f}"),
            ("CPU ms per user", _number(_times(measured.cpu, 1000 / measured.users), ",.3f")),
            ("most memory of the server, MB", peak),
            ("access records written when one member joins", f"{measured.touched:,}"),
        ),
        "Durable SQLite; targets are 2,000 users/s, 150 MB, and one record.",
    )


def concurrency_table(runs: Sequence[Concurrency]) -> Table:
    """Requests at once in one instance."""

    def row(run: Concurrency) -> tuple[str, ...]:
        latencies = (run.sample.percentile(0.5), run.sample.percentile(0.99), run.waited(0.99))
        return (
            str(run.at_once),
            f"{run.sample.per_second:,.0f}",
            *(f"{figure * 1000:,.1f}" for figure in latencies),
            "" if run.memory is None else f"{run.memory / 1e6:,.0f}",
        )

    return Table(
        "Requests at once in one instance: half GET user, half PATCH active",
        ("at once", "requests/s", "p50 ms", "p99 ms", "others wait, p99 ms", "memory MB"),
        tuple(map(row, runs)),
        "One process that answers requests, on durable SQLite, reconciling meanwhile. The others' "
        "wait is the answer time of a request that costs nearly nothing.",
    )


def end_to_end_table(runs: Sequence[EndToEnd]) -> Table:
    """From the SCIM answer to the access record."""

    def row(run: EndToEnd) -> tuple[str, ...]:
        (answer50, record50), (answer99, record99) = run.percentile(0.5), run.percentile(0.99)
        return (
            f"{run.offered / TENANTS:.3g} ({run.offered:,.0f} together)",
            f"{run.answered:,.0f}",
            *(f"{figure * 1000:,.1f}" for figure in (answer50, answer99, record50, record99)),
            f"{run.rest:,.1f}",
            _number(run.cores, ".2f"),
        )

    return Table(
        f"End to end: {TENANTS} tenants of {USERS} users, PATCH active",
        (
            "offered per tenant, 1/s",
            "answered, 1/s",
            "answer p50 ms",
            "p99 ms",
            "record p50 ms",
            "p99 ms",
            "reconciled after, s",
            "cores",
        ),
        tuple(map(row, runs)),
        "Durable SQLite, one connection per tenant. An answer counts from when the request was "
        "due; a record from the answer until the store shows it to another process.",
    )


def cosmos_table(costs: Sequence[CosmosCost]) -> Table:
    """The requests to Cosmos DB."""
    return Table(
        "Cosmos DB: one request on the real SDK and a façade of the wire protocol",
        (
            "operation",
            "round trips",
            "bytes sent",
            "bytes got",
            "RU, estimated",
            "CPU ms",
            "on SQLite",
            "SDK CPU ms",
        ),
        tuple(
            (
                cost.operation,
                " + ".join(f"{number:.3g} {kind}" for kind, number in cost.kinds.items()),
                f"{cost.sent:,.0f}",
                f"{cost.got:,.0f}",
                f"{cost.units:,.0f}",
                f"{cost.cpu * 1000:.2f}",
                f"{cost.cpu_on_sqlite * 1000:.2f}",
                f"{(cost.cpu - cost.cpu_on_sqlite) * 1000:.2f}",
            )
            for cost in costs
        ),
        f"Averages of {REPEATS}, without the reconciler. Request units are what the documented "
        "prices make of the documents' sizes, with Strong consistency; they are not measured.",
    )


def scale_tables(sizes: Sequence[Scale]) -> list[Table]:
    """How everything grows."""
    columns = ("figure", *(f"{size.users:,} users" for size in sizes))

    def megabytes(bytes: int | None) -> str:
        return _number(_times(bytes, 1e-6), ",.0f")

    stock = (
        ("groups", *(f"{size.groups:,}" for size in sizes)),
        ("memberships", *(f"{size.memberships:,}" for size in sizes)),
        ("MB on disk", *(megabytes(size.disk) for size in sizes)),
        ("MB in memory, before the load", *(megabytes(size.memory[0]) for size in sizes)),
        ("MB in memory, after the load", *(megabytes(size.memory[1]) for size in sizes)),
    )
    return [
        Table("Scale: what is stored", columns, stock),
        Table(
            "Scale: p50 | p99 in ms",
            columns,
            tuple(
                (
                    name,
                    *(
                        " | ".join(
                            f"{size.samples[name].percentile(share) * 1000:,.2f}"
                            for share in (0.5, 0.99)
                        )
                        for size in sizes
                    ),
                )
                for name in sizes[0].samples
            ),
            f"{CONCURRENCY} connections in a closed loop; loaded straight into the store.",
        ),
    ]


def bill_table(bill: Bill) -> Table:
    """What customers cost."""
    rows = [
        (f"{users:,} users, {month}", bill.of(users, month))
        for users in CUSTOMERS
        for month in MONTHS
    ]
    return Table(
        "The bill: what a customer takes beside the fixed price of a stamp",
        ("customer", "million RU", "Service Bus operations", "executions", "GB-s", "log MB", "USD"),
        tuple(
            (
                name,
                f"{spent.meters['request units'] / 1e6:,.2f}",
                f"{spent.meters['queue operations']:,.0f}",
                f"{spent.meters['executions']:,.0f}",
                f"{spent.meters['GB-seconds']:,.0f}",
                f"{spent.meters['log bytes'] / 1e6:,.1f}",
                f"{spent.dollars:,.2f}",
            )
            for name, spent in rows
        ),
        "Counted on the wire's stand-ins; RU by documented prices, processor time of this machine, "
        "list prices as assumed on 2026-11-25 (docs/deploy.md). Cosmos DB as serverless bills it: "
        "on a provisioned one the RU are part of the fixed price.",
    )


def walks_table(walks: Sequence[Walk]) -> Table:
    """Paging by index."""
    return Table(
        "A walk by index, 100 users a page",
        ("users", "one of the first pages, ms", "one of the last, ms", "last of first"),
        tuple(
            (
                f"{walk.users:,}",
                f"{walk.first * 1e3:.2f}",
                f"{walk.last * 1e3:.2f}",
                f"{walk.last / walk.first:.2f}",
            )
            for walk in walks
        ),
        "Medians of ten pages, in this process, userName only; the very first page, which counts "
        "everybody, is left out.",
    )


def feed_table(measured: FeedTimes) -> Table:
    """The feed of changes."""
    return Table(
        f"Feed: {measured.changes:,} changes of access, in pages of 1,000",
        (
            "changes",
            "all, s",
            "changes/s",
            "one of the first pages, ms",
            "one of the last, ms",
            "idle, ms",
        ),
        (
            (
                f"{measured.changes:,}",
                f"{measured.all:.1f}",
                f"{measured.changes / measured.all:,.0f}",
                f"{measured.first * 1e3:.1f}",
                f"{measured.last * 1e3:.1f}",
                f"{measured.idle * 1e3:.2f}",
            ),
        ),
        "On SQLite, in this process. Idle: nothing is new, which one query finds.",
    )


def console_table(measured: Sequence[PageTimes], users: int, groups: int) -> Table:
    """The console's pages."""
    return Table(
        f"Console: {users:,} users, {groups:,} groups",
        ("page", "p50 ms", "p99 ms"),
        tuple((one.page, f"{one.median * 1e3:.1f}", f"{one.worst * 1e3:.1f}") for one in measured),
        f"The server's time, {len(measured[0].seconds)} requests for each page, one at a time.",
    )
