"""The dictionaries of item ids, D_ITEMS and D_LABITEMS: every id that is charted, with its public label."""

from collections.abc import Mapping
from typing import NamedTuple


class ChartItem(NamedTuple):
    """A row of D_ITEMS, and the unit (VALUEUOM) that its chart events carry."""

    item_id: int
    label: str
    source: str
    unit: str | None
    category: str | None = None
    abbreviation: str | None = None
    kind: str | None = None


class LabItem(NamedTuple):
    """A row of D_LABITEMS, and the unit (VALUEUOM) that its results carry."""

    item_id: int
    label: str
    fluid: str
    category: str
    unit: str | None
    loinc: str


_CV, _MV = "carevue", "metavision"
_VITALS, _BREATHING, _LABS = "Routine Vital Signs", "Respiratory", "Labs"

CHART_ITEMS = (
    ChartItem(51, "Arterial BP [Systolic]", _CV, "mmHg"),
    ChartItem(211, "Heart Rate", _CV, "BPM"),
    ChartItem(442, "Manual BP [Systolic]", _CV, "mmHg"),
    ChartItem(455, "NBP [Systolic]", _CV, "mmHg"),
    ChartItem(615, "Resp Rate (Total)", _CV, "BPM"),
    ChartItem(618, "Respiratory Rate", _CV, "BPM"),
    ChartItem(619, "Respiratory Rate Set", _CV, "BPM"),
    ChartItem(646, "SpO2", _CV, "%"),
    ChartItem(676, "Temperature C", _CV, "Deg. C"),
    ChartItem(677, "Temperature C (calc)", _CV, "Deg. C"),
    ChartItem(678, "Temperature F", _CV, "Deg. F"),
    ChartItem(679, "Temperature F (calc)", _CV, "Deg. F"),
    ChartItem(811, "Glucose (70-105)", _CV, None, "Chemistry"),
    ChartItem(818, "Lactic Acid(0.5-2.0)", _CV, None, "Chemistry"),
    ChartItem(829, "Potassium (3.5-5.3)", _CV, None, "Chemistry"),
    ChartItem(1525, "Creatinine", _CV, None, "Chemistry"),
    ChartItem(5820, "SpO2 Alarm [Low]", _CV, "%"),
    ChartItem(6701, "Arterial BP #2 [Systolic]", _CV, "mmHg"),
    ChartItem(8368, "Arterial BP [Diastolic]", _CV, "mmHg"),
    ChartItem(8440, "Manual BP [Diastolic]", _CV, "mmHg"),
    ChartItem(8441, "NBP [Diastolic]", _CV, "mmHg"),
    ChartItem(8555, "Arterial BP #2 [Diastolic]", _CV, "mmHg"),
    ChartItem(220045, "Heart Rate", _MV, "bpm", _VITALS, "HR", "Numeric"),
    ChartItem(220050, "Arterial Blood Pressure systolic", _MV, "mmHg", _VITALS, "ABPs", "Numeric"),
    ChartItem(220051, "Arterial Blood Pressure diastolic", _MV, "mmHg", _VITALS, "ABPd", "Numeric"),
    ChartItem(220179, "Non Invasive Blood Pressure systolic", _MV, "mmHg", _VITALS, "NBPs", "Numeric"),
    ChartItem(220180, "Non Invasive Blood Pressure diastolic", _MV, "mmHg", _VITALS, "NBPd", "Numeric"),
    ChartItem(220210, "Respiratory Rate", _MV, "insp/min", _BREATHING, "RR", "Numeric"),
    ChartItem(220277, "O2 saturation pulseoxymetry", _MV, "%", _BREATHING, "SpO2", "Numeric"),
    ChartItem(220615, "Creatinine", _MV, None, _LABS, "Creatinine", "Numeric"),
    ChartItem(220621, "Glucose (serum)", _MV, None, _LABS, "Glucose (serum)", "Numeric"),
    ChartItem(223761, "Temperature Fahrenheit", _MV, "?F", _VITALS, "Temperature F", "Numeric"),
    ChartItem(223762, "Temperature Celsius", _MV, "?C", _VITALS, "Temperature C", "Numeric"),
    ChartItem(224027, "Skin Temperature", _MV, None, "Skin - Assessment", "Skin Temp", "Text"),
    ChartItem(224688, "Respiratory Rate (Set)", _MV, "insp/min", _BREATHING, "RR (Set)", "Numeric"),
    ChartItem(224690, "Respiratory Rate (Total)", _MV, "insp/min", _BREATHING, "RR (Total)", "Numeric"),
    ChartItem(225668, "Lactic Acid", _MV, "mmol/L", _LABS, "Lactic Acid", "Numeric"),
    ChartItem(226253, "SpO2 Desat Limit", _MV, "%", "Alarms", "SpO2 Desat Limit", "Numeric"),
    ChartItem(227442, "Potassium (serum)", _MV, "mEq/L", _LABS, "Potassium (serum)", "Numeric with tag"),
)
"""In ascending order of item id."""

CAREVUE_TO_METAVISION: Mapping[int, int | None] = {
    51: 220050,
    211: 220045,
    442: 220179,
    455: 220179,
    615: 224690,
    618: 220210,
    619: 224688,
    646: 220277,
    676: 223762,
    677: None,
    678: 223761,
    679: None,
    811: 220621,
    818: 225668,
    829: 227442,
    1525: 220615,
    5820: 226253,
    6701: 225309,
    8368: 220051,
    8440: 220180,
    8441: 220180,
    8555: 225310,
}
"""Item id of CareVue -> that of MetaVision, the only charting system of MIMIC-IV; None: it calculates no copies."""

_ART_ITEMS = (
    ChartItem(225309, "ART BP Systolic", _MV, "mmHg", _VITALS, "ART BP Systolic", "Numeric"),
    ChartItem(225310, "ART BP Diastolic", _MV, "mmHg", _VITALS, "ART BP Diastolic", "Numeric"),
)

MIMIC4_CHART_ITEMS = tuple(
    item._replace(unit=item.unit and item.unit.replace("?", "°"))
    for item in sorted((*CHART_ITEMS, *_ART_ITEMS))
    if item.source == _MV
)
"""D_ITEMS of MIMIC-IV, in ascending order of item id."""

_GAS, _CHEMISTRY, _HAEMATOLOGY = "Blood Gas", "Chemistry", "Hematology"

LAB_ITEMS = (
    LabItem(50802, "Base Excess", "Blood", _GAS, "mEq/L", "11555-0"),
    LabItem(50808, "Free Calcium", "Blood", _GAS, "mmol/L", "1994-3"),
    LabItem(50809, "Glucose", "Blood", _GAS, "mg/dL", "2339-0"),
    LabItem(50813, "Lactate", "Blood", _GAS, "mmol/L", "32693-4"),
    LabItem(50818, "pCO2", "Blood", _GAS, "mm Hg", "11557-6"),
    LabItem(50820, "pH", "Blood", _GAS, "units", "11558-4"),
    LabItem(50821, "pO2", "Blood", _GAS, "mm Hg", "11556-8"),
    LabItem(50822, "Potassium, Whole Blood", "Blood", _GAS, "mEq/L", "6298-4"),
    LabItem(50862, "Albumin", "Blood", _CHEMISTRY, "g/dL", "1751-7"),
    LabItem(50868, "Anion Gap", "Blood", _CHEMISTRY, "mEq/L", "1863-0"),
    LabItem(50882, "Bicarbonate", "Blood", _CHEMISTRY, "mEq/L", "1963-8"),
    LabItem(50893, "Calcium, Total", "Blood", _CHEMISTRY, "mg/dL", "2000-8"),
    LabItem(50902, "Chloride", "Blood", _CHEMISTRY, "mEq/L", "2075-0"),
    LabItem(50912, "Creatinine", "Blood", _CHEMISTRY, "mg/dL", "2160-0"),
    LabItem(50931, "Glucose", "Blood", _CHEMISTRY, "mg/dL", "2345-7"),
    LabItem(50960, "Magnesium", "Blood", _CHEMISTRY, "mg/dL", "2601-3"),
    LabItem(50970, "Phosphate", "Blood", _CHEMISTRY, "mg/dL", "2777-1"),
    LabItem(50971, "Potassium", "Blood", _CHEMISTRY, "mEq/L", "2823-3"),
    LabItem(50983, "Sodium", "Blood", _CHEMISTRY, "mEq/L", "2951-2"),
    LabItem(51006, "Urea Nitrogen", "Blood", _CHEMISTRY, "mg/dL", "3094-0"),
    LabItem(51221, "Hematocrit", "Blood", _HAEMATOLOGY, "%", "4544-3"),
    LabItem(51237, "INR(PT)", "Blood", _HAEMATOLOGY, None, "5895-7"),
    LabItem(51265, "Platelet Count", "Blood", _HAEMATOLOGY, "K/uL", "777-3"),
    LabItem(51478, "Glucose", "Urine", _HAEMATOLOGY, "mg/dL", "5792-7"),
    LabItem(51491, "pH", "Urine", _HAEMATOLOGY, "units", "5803-2"),
)
"""In ascending order of item id."""

ALBUMIN, LATER_ALBUMIN = 50862, 53085
"""Albumin has two item ids in MIMIC-IV."""

MIMIC4_LAB_ITEMS = (*LAB_ITEMS, LabItem(LATER_ALBUMIN, "Albumin", "Blood", _CHEMISTRY, "g/dL", "1751-7"))
"""D_LABITEMS of MIMIC-IV, in ascending order of item id."""
