"""How sentences name directions and bases."""

FLIPS = {"0_to_1": "survivors flipped to death", "1_to_0": "deaths flipped to survival"}
ON_BASIS = {"all": "all cells", "observed": "observed cells only"}
