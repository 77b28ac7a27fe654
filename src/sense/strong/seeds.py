"""What databases to ask a strong model for, as data; and what not to ask for.

`plan_areas` fixes an area of life and leaves the domain in it to the model: what the demo's replies answer.
`plan_catalog` takes domains from the catalog; its plan number i is the same however many are asked for.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from sense.strong.catalog import CATALOG

LEVELS = ("easy", "medium", "hard", "extra")

# Themes that the SENSE prompt names first, then those that the databases of Spider and BIRD come back to.
BANNED_DOMAINS = (
    "education and universities", "healthcare and medicine", "travel and airlines", "entertainment and media",
    "concerts and singers", "films and television", "sports leagues and players", "cars and car makers",
    "employees and departments", "shops with customers, orders and products", "hotels and apartment rentals",
    "restaurants", "pets and dog kennels", "museums", "elections and politics", "bank accounts and loans",
    "insurance", "libraries and books", "superheroes", "card games", "student clubs", "real estate",
    "world geography", "flights and airports", "music streaming", "document management",
)  # fmt: skip

AREAS = (
    "beekeeping", "seed banks", "coral reef restoration", "district heating", "container terminals",
    "tea growing", "wind farm maintenance", "avalanche forecasting", "cheese aging", "telescope time",
    "vertical farming", "tool lending", "glass recycling", "lighthouses", "bridge inspection",
    "mushroom foraging", "canal locks", "falconry", "organ building", "salt works", "cable cars",
    "peat bog conservation", "typeface foundries", "meteorite collections", "hydroponics",
    "clock restoration", "fish ladders", "hot air balloons", "community gardens", "paper mills",
    "truffle hunting", "geothermal wells", "quarries", "ice roads", "weather balloons", "oyster farming",
    "hedge mazes", "bicycle repair", "snow plowing", "dye works", "kelp farms", "cave mapping",
    "drone mapping", "perfume making", "sawmills", "radio amateurs", "tide mills", "vinegar making",
    "street lighting", "water towers", "map archives", "kite making", "sheep shearing", "boat building",
    "mine rescue", "bell foundries", "urban foxes", "rope walks", "chimney sweeping", "puppet theaters",
)  # fmt: skip

DOMAINS = sum(map(len, CATALOG.values()))

REGIONS = (
    "Scotland", "Chile", "Kenya", "northern Italy", "Vietnam", "Canada's Atlantic provinces", "Poland",
    "New Zealand", "Morocco", "southern Brazil", "Ireland", "Japan", "the Netherlands", "South Africa",
    "Mexico", "Finland", "India", "Portugal", "the United States' Midwest", "Turkey", "Austria", "Indonesia",
    "Wales", "Argentina", "Ghana", "Greece", "South Korea", "Estonia", "Australia", "the Pacific Northwest",
    "France", "the Philippines", "Norway", "Peru", "Germany", "Nigeria",
)  # fmt: skip


class Breadth(StrEnum):
    """How many columns the tables have."""

    SMALL = "small"
    MEDIUM = "medium"
    WIDE = "wide"


class Naming(StrEnum):
    """How the names of tables and columns are spelled."""

    SNAKE = "snake"
    CAPITALS = "capitals"
    CAMEL = "camel"


class Shape(StrEnum):
    """What a schema has beside plain keys."""

    SELF_REFERENCE = "self_reference"
    COMPOSITE_KEY = "composite_key"
    TWO_REFERENCES = "two_references"


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaPlan:
    """One database to ask for, of which only the area of life is fixed."""

    name: str
    area: str
    tables: int
    main_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePlan:
    """One database to ask for; `seed` draws its questions."""

    name: str
    area: str
    domain: str
    region: str
    tables: int
    breadth: Breadth
    naming: Naming
    shapes: tuple[Shape, ...]
    main_rows: int
    seed: str

    @property
    def db_id(self) -> str:
        """Name the database after its domain, which no other plan has."""
        return "".join(letter if letter.isalnum() else "_" for letter in self.domain)


def plan_areas(count: int, *, rng: random.Random) -> list[AreaPlan]:
    """Draw `count` databases of different areas (no more than there are areas), sizes varied in turn."""
    areas = rng.sample(AREAS, count)
    sizes = [3 + i % 4 for i in range(count)]
    rng.shuffle(sizes)
    return [
        AreaPlan(name=f"database-{i:03d}", area=area, tables=tables, main_rows=rng.randint(34, 44))
        for i, (area, tables) in enumerate(zip(areas, sizes, strict=True), start=1)
    ]


# Taken in turn, so that any dozen databases have all sizes; most have 4 to 6 tables, as those of Spider.
TABLES = (3, 4, 5, 6, 4, 7, 5, 3, 6, 4, 5, 8)
BREADTHS = (Breadth.MEDIUM, Breadth.SMALL, Breadth.MEDIUM, Breadth.WIDE, Breadth.SMALL)
NAMINGS = {Naming.SNAKE: 4, Naming.CAPITALS: 1, Naming.CAMEL: 1}
SHAPE_SHARE = 0.3  # of the databases have each of the shapes
MAIN_ROWS = {Breadth.SMALL: (34, 40), Breadth.MEDIUM: (30, 36), Breadth.WIDE: (24, 28)}


def plan_catalog(count: int, *, seed: int) -> list[DatabasePlan]:
    """Draw `count` databases (no more than the catalogue has domains), the areas in turn."""
    order = random.Random(f"{seed}/areas")
    areas = order.sample(sorted(CATALOG), len(CATALOG))
    domains = {area: order.sample(CATALOG[area], len(CATALOG[area])) for area in areas}
    regions = order.sample(REGIONS, len(REGIONS))
    in_turn = [
        (area, domains[area][depth])
        for depth in range(max(map(len, domains.values())))
        for area in areas
        if depth < len(domains[area])
    ]
    return [
        _plan(i, area=area, domain=domain, region=regions[i % len(regions)], seed=seed)
        for i, (area, domain) in enumerate(in_turn[:count])
    ]


def _plan(i: int, *, area: str, domain: str, region: str, seed: int) -> DatabasePlan:
    own_seed = f"{seed}/{i}"
    rng = random.Random(own_seed)
    breadth = BREADTHS[i % len(BREADTHS)]
    return DatabasePlan(
        name=f"database-{i + 1:03d}",
        area=area,
        domain=domain,
        region=region,
        tables=TABLES[i % len(TABLES)],
        breadth=breadth,
        naming=rng.choices(list(NAMINGS), list(NAMINGS.values()))[0],
        shapes=tuple(shape for shape in Shape if rng.random() < SHAPE_SHARE),
        main_rows=rng.randint(*MAIN_ROWS[breadth]),
        seed=own_seed,
    )
