"""What to ask a strong model for, as data: areas of life, sizes, levels; and what not to ask for."""

from __future__ import annotations

import random
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePlan:
    """One database to ask for."""

    name: str
    area: str
    tables: int
    main_rows: int


def plan_databases(count: int, *, rng: random.Random) -> list[DatabasePlan]:
    """Draw `count` databases of different areas (no more than there are areas), sizes varied in turn."""
    areas = rng.sample(AREAS, count)
    sizes = [3 + i % 4 for i in range(count)]
    rng.shuffle(sizes)
    return [
        DatabasePlan(name=f"database-{i:03d}", area=area, tables=tables, main_rows=rng.randint(34, 44))
        for i, (area, tables) in enumerate(zip(areas, sizes, strict=True), start=1)
    ]
