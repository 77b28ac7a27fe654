"""What there is to keep records of: areas of life, and in each of them kinds of work that somebody does.

Chosen by hand, far from what the databases of Spider and BIRD and those of the demo are about.
"""

from __future__ import annotations

CATALOG: dict[str, tuple[str, ...]] = {
    "water and coast": (
        "oyster farm leases", "harbor pilotage", "buoy and sea mark tending", "tidal gate operation",
        "beach lifeguard watches", "mooring licenses", "channel dredging", "kelp cultivation",
        "coral nursery outplanting", "salt pan works", "desalination plant operation",
        "shore erosion surveys",
    ),
    "rivers and drinking water": (
        "well drilling", "water tower upkeep", "flood gauge network", "fish ladder counts",
        "river barge towing", "dam safety inspections", "sewer camera surveys", "water leak detection",
        "spring water bottling", "irrigation turns of a ditch company", "wetland restoration",
        "water meter replacement",
    ),
    "plants and soil": (
        "seed bank accessions", "grafting nursery", "vertical farm trays", "tea garden plucking",
        "truffle orchard", "mushroom growing rooms", "greenhouse pest control with beneficial insects",
        "soil testing laboratory", "bonsai school", "hop yard", "lavender distillery",
        "olive mill pressing",
    ),
    "animals and keeping": (
        "beekeeping cooperative", "falcon breeding", "sheep shearing crews", "alpaca fiber cooperative",
        "reptile rescue", "butterfly house", "silkworm rearing", "snail farm", "dairy goat herd book",
        "farrier rounds", "guide dog puppy raising", "racing pigeon lofts",
    ),
    "forest and wild land": (
        "sawmill timber intake", "forest fire lookouts", "hiking trail upkeep", "wildlife camera traps",
        "bird ringing station", "bat roost surveys", "cork harvest", "maple syrup sugarhouse",
        "invasive plant removal", "peat bog rewetting", "nest box monitoring", "tree risk assessment",
    ),
    "weather, ice and sky": (
        "weather balloon launches", "meteor camera network", "telescope observing time",
        "ice road maintenance", "glacier mass measurements", "snow plow routes", "aurora watch society",
        "lightning protection service", "planetarium dome shows", "radio telescope maintenance",
        "pollen count stations", "ice core archive",
    ),
    "earth and minerals": (
        "slate quarry", "geothermal wells", "seismograph network", "cave rescue and mapping",
        "gem cutting", "meteorite collection loans", "gravel pit deliveries", "core sample store",
        "fossil preparation laboratory", "mine water treatment", "clay pit and brickworks",
        "mineral spring analysis",
    ),
    "energy": (
        "wind turbine blade repair", "district heating substations", "community solar shares",
        "biogas plant feedstock", "transformer oil testing", "power line vegetation clearing",
        "electric car charging posts", "heat pump installation", "small hydropower stations",
        "boiler and pressure vessel inspection", "firewood cooperative", "battery second life workshop",
    ),
    "waste and reuse": (
        "glass recycling yard", "textile sorting", "compost plant", "electronics refurbishing",
        "scrap metal yard", "hazardous waste collection rounds", "repair cafe", "tool lending shed",
        "building parts salvage", "cooking oil collection", "landfill gas monitoring",
        "toy mending workshop",
    ),
    "craft in wood and fiber": (
        "boat building yard", "violin making", "handloom weaving", "basket willow growing", "rope walk",
        "carpet restoration", "bookbinding", "paper mill", "natural dye works", "felt hat making",
        "barrel cooperage", "wooden shingle roofing",
    ),
    "craft in metal, glass and clay": (
        "bell foundry", "clock restoration", "stained glass studio", "pottery kiln sharing",
        "blacksmith workshop", "organ pipe making", "lens grinding", "key and lock service",
        "enamel sign making", "knife sharpening rounds", "bronze casting", "watch dial engraving",
    ),
    "food making": (
        "vinegar brewery", "chocolate bean sourcing", "sourdough flour mill", "tofu workshop",
        "fish smokehouse", "miso and soy sauce cellar", "jam cooperative", "pasta drying plant",
        "spice blending", "kombucha fermentation", "tea tasting panel", "ice cream laboratory",
    ),
    "moving people": (
        "cable car operation", "river ferry crossings", "night bus lines",
        "escalator and lift maintenance", "mountain guide bookings", "wheelchair taxi dispatch",
        "hot air balloon rides", "horse carriage licenses", "tram depot", "bicycle repair stations",
        "funicular inspection", "village ride sharing",
    ),
    "moving goods and signals": (
        "freight tram", "parcel locker network", "cold store logistics", "grain elevator",
        "pallet pooling", "bridge load permits", "amateur radio contests", "submarine cable repair",
        "cargo bike couriers", "community radio mast upkeep", "emergency call box service",
        "customs warehouse seals",
    ),
    "buildings and streets": (
        "bridge bearing inspection", "chimney sweep rounds", "scaffolding hire",
        "playground safety checks", "street tree planting", "facade cleaning by rope",
        "road marking crews", "public fountain care", "fire hydrant checks", "historic roof survey",
        "elevator emergency calls", "window restoration",
    ),
    "safety and rescue": (
        "volunteer fire brigade calls", "mountain rescue", "lifeboat station", "search dog team",
        "earthquake drill program", "fire extinguisher service", "diving equipment testing",
        "smoke alarm visits", "crane operator certification", "laser safety audits",
        "first aid kit refills", "disaster relief stockpile",
    ),
    "measuring and testing": (
        "weights and measures office", "wind tunnel bookings", "noise measurement",
        "concrete cube testing", "microscope sharing", "calibration laboratory",
        "paint weathering tests", "textile fire tests", "radon measurement", "drone mapping flights",
        "crash test dummies", "food color testing",
    ),
    "play and skill": (
        "chess correspondence league", "escape room company", "board game lending", "marble run club",
        "model railway club", "juggling school", "crossword editors", "archery range",
        "orienteering maps", "sand sculpture contest", "puzzle hunt", "ballroom dance classes",
    ),
    "stage, sound and print": (
        "puppet theater workshop", "costume rental store", "piano tuning rounds", "letterpress studio",
        "typeface foundry", "sound archive digitization", "stage lighting hire", "church organ survey",
        "comic book coloring studio", "sign language interpreting", "carillon playing", "map archive",
    ),
    "neighbors and memory": (
        "community garden plots", "oral history interviews", "cemetery care", "time bank exchange",
        "village hall bookings", "food bank pantry", "parish bell ringing",
        "family tree research service", "lost property office", "public bench sponsorship",
        "street market stalls", "laundry cooperative",
    ),
    "science in the field": (
        "archaeological dig finds", "dendrochronology laboratory", "citizen moth counts",
        "plankton sampling", "whale sighting network", "herbarium specimens",
        "insect pinning collection", "penguin colony counts", "polar station supplies",
        "deep sea sensor moorings", "sediment core dating", "frog call monitoring",
    ),
}  # fmt: skip
