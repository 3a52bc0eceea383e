"""The rows of the fault table: what is hit, at which moment, under which load."""

from dataclasses import dataclass

from tests.bench.faults_load import BRIEF, HEAVY, LIGHT, Load

ALL = ("gateway", "collector", "writer", "web", "postgres", "valkey")
DOORS = ("gateway", "collector")
KILLED = {
    "receiving": (
        *((kind,) for kind in (*ALL, "backend", "worker", "up")),
        ("gateway", "writer"),
        ("gateway", "postgres"),
        ("gateway", "valkey"),
        ("collector", "writer"),
        ("writer", "postgres"),
        ("writer", "valkey"),
        ("postgres", "valkey"),
        ("gateway", "writer", "postgres"),
        ("gateway", "writer", "valkey"),
        ("writer", "postgres", "valkey"),
        ALL,
    ),
    "appended": (DOORS, (*DOORS, "writer"), (*DOORS, "postgres"), ("up",)),
    "committed": (("writer",), ("postgres",), ("backend",), ("writer", "postgres"), ("writer", "valkey"), ("up",)),
    "closing": (("postgres",), ("backend",), ("writer",), ("writer", "postgres"), ("worker",)),
    "starting": (("gateway",), ("collector",), ("writer",), ("postgres",), ("valkey",), ALL, ("up",)),
}  # fmt: skip
# What is no kill of one moment, and whether it needs a disk of its own.
CONDITIONS = {
    "writer held for 10 s": False,
    "journal at its bound": False,
    "PostgreSQL away": False,
    "files of the doors cannot be written": False,
    "files of PostgreSQL cannot be written": False,
    "disk of the journals full": True,
    "disk of the journals full, gateway and writer killed": True,
    "disk of PostgreSQL full": True,
    "disk of PostgreSQL full, PostgreSQL killed": True,
    "disk of everything full": True,
    "disk of everything full, all killed": True,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table before it is tried. `kinds` of a condition: nothing."""

    fault: str
    moment: str
    load: Load
    kinds: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.fault} / {self.moment} / {self.load.name}"

    @property
    def needs_disk(self) -> bool:
        return CONDITIONS.get(self.fault, False)


def rows() -> list[Row]:
    """All of them: those that share a platform one after the other."""
    killed = [
        Row(_named(kinds), moment, load, kinds)
        for moment, every in KILLED.items()
        for kinds in every
        # A turn of several transactions needs a backlog of some thousand spans.
        for load in ((BRIEF,) if moment == "committed" else (LIGHT, HEAVY))
    ]
    conditions = [Row(fault, "receiving", load) for fault in CONDITIONS for load in (LIGHT, HEAVY)]
    return killed + sorted(conditions, key=lambda row: row.needs_disk)


def _named(kinds: tuple[str, ...]) -> str:
    return "all six" if kinds == ALL else " + ".join(kinds)
