"""The scale on which each quantity is measured: from a standardised deviation to a value in its unit."""

from dataclasses import dataclass

import numpy as np

from ehr_attack.synthetic.severity import Course, FloatArray, IntArray


@dataclass(frozen=True)
class Quantity:
    """A measured quantity: `centre + spread * deviation`, or `centre * exp(spread * deviation)` if `skewed`.

    Values are kept within [`lowest`, `highest`] and charted at `decimals`. `variable` names the latent
    course behind it; None is a bystander without one. `noise` is the error of one measurement, in standard
    deviations.
    """

    variable: str | None
    centre: float
    spread: float
    lowest: float
    highest: float
    decimals: int = 0
    skewed: bool = False
    noise: float = 0.15

    @property
    def usual_range(self) -> tuple[float, float]:
        """Values one standard deviation below and above the centre, outside which a result is flagged."""
        low, high = self._scale(np.array([-1.0, 1.0])).tolist()
        return low, high

    def measure(self, rng: np.random.Generator, course: Course, stay: IntArray, hours: FloatArray) -> FloatArray:
        """Unrounded values at rows of (stay index, hours since ICU admission), with errors of measurement."""
        deviation = rng.standard_normal(stay.size)
        if self.variable is not None:
            deviation = course.deviation(self.variable, stay, hours) + self.noise * deviation
        return np.clip(self._scale(deviation), self.lowest, self.highest)

    def read(self, rng: np.random.Generator, course: Course, stay: IntArray, hours: FloatArray) -> FloatArray:
        """Like `measure`, at the precision at which the quantity is charted."""
        # Adding zero turns a rounded -0.0 into 0.0, which is how a person would write it.
        return np.round(self.measure(rng, course, stay, hours), self.decimals) + 0.0

    def _scale(self, deviation: FloatArray) -> FloatArray:
        if self.skewed:
            return self.centre * np.exp(self.spread * deviation)
        return self.centre + self.spread * deviation


_VITAL_NOISE = 0.3

HEART_RATE = Quantity("heart_rate", 86, 16, 25, 210, noise=_VITAL_NOISE)
SBP = Quantity("sbp", 119, 20, 45, 240, noise=_VITAL_NOISE)
DBP = Quantity("dbp", 60, 12, 20, 140, noise=_VITAL_NOISE)
TEMPERATURE = Quantity("temperature", 37.0, 0.65, 31.0, 41.5, decimals=1, noise=_VITAL_NOISE)
RESP_RATE = Quantity("resp_rate", 19, 5, 4, 55, noise=_VITAL_NOISE)
SPO2 = Quantity("spo2", 96.7, 2.2, 60, 100, noise=_VITAL_NOISE)

LACTATE = Quantity("lactate", 1.9, 0.50, 0.3, 25, decimals=1, skewed=True)
PACO2 = Quantity("paco2", 40, 8, 12, 120)
PH = Quantity("ph", 7.37, 0.075, 6.8, 7.7, decimals=2)
ALBUMIN = Quantity("albumin", 3.0, 0.6, 1.0, 5.5, decimals=1)
BICARBONATE = Quantity("bicarbonate", 24, 4.5, 5, 48)
CALCIUM = Quantity("calcium", 8.3, 0.75, 4.5, 14, decimals=1)
IONISED_CALCIUM = Quantity("calcium", 1.13, 0.09, 0.55, 1.9, decimals=2)
CREATININE = Quantity("creatinine", 1.2, 0.65, 0.2, 16, decimals=1, skewed=True)
GLUCOSE = Quantity("glucose", 130, 0.32, 25, 900, skewed=True)
MAGNESIUM = Quantity("magnesium", 2.0, 0.32, 0.6, 5, decimals=1)
INR = Quantity("inr", 1.4, 0.30, 0.8, 15, decimals=1, skewed=True)
POTASSIUM = Quantity("potassium", 4.1, 0.55, 1.9, 9, decimals=1)
SODIUM = Quantity("sodium", 138.5, 4.6, 108, 172)
BUN = Quantity("bun", 24, 0.65, 3, 220, skewed=True)
PLATELETS = Quantity("platelets", 190, 0.50, 5, 1200, skewed=True)

ANION_GAP = Quantity(None, 13.5, 3, 4, 40)
BASE_EXCESS = Quantity(None, 0, 5, -28, 22)
CHLORIDE = Quantity(None, 104, 5.5, 75, 138)
HAEMATOCRIT = Quantity(None, 30, 4.5, 12, 58, decimals=1)
PHOSPHATE = Quantity(None, 3.5, 1.1, 0.6, 11, decimals=1)
PO2 = Quantity(None, 115, 0.45, 25, 520, skewed=True)
URINE_PH = Quantity(None, 5.9, 0.8, 5, 9, decimals=1)
URINE_GLUCOSE = Quantity(None, 300, 0.7, 70, 1000, skewed=True)
