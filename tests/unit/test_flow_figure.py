"""The chart of the cohort flow: what its boxes say, that nothing small shows, and that texts stay in their boxes."""

import re
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import BboxBase

from ehr_attack.features import build_features
from ehr_attack.figures import flow, names
from ehr_attack.figures.flow import flow_boxes, plot_flow
from ehr_attack.figures.style import new_figure, use_style
from ehr_attack.storage import write_json
from ehr_attack.summaries.cohort import flow_table, write_cohort_tables
from ehr_attack.variables import load_variables
from mimic3_builder import INTIME, Records, a_usual_stay, extracted, moment

LABELS = [
    "age below 18 years or unknown",
    "times out of order or missing, or outcome missing",
    "admitted as an organ donor",
    "ICU stay shorter than 48 hours",
    "hospital stay shorter than 24 hours",
    "left the ICU or died before hour 48",
    "not the patient's first stay that meets the rules above",
    "no measurement of any variable in the window",
]


def steps(total: int, excluded: list[int]) -> list[dict]:
    left = total
    rows = [{"label": "ICU stays in the source", "excluded_stays": 0}]
    rows += [{"label": label, "excluded_stays": n} for label, n in zip(LABELS, excluded, strict=True)]
    for row in rows:
        left -= row["excluded_stays"]
        row |= {"stays": left, "patients": left * 4 // 5, "deaths": left // 8}
    return rows


def holds(frame: BboxBase, text: BboxBase) -> bool:
    inside = frame.xmin < text.xmin and text.xmax < frame.xmax
    return bool(inside and frame.ymin < text.ymin and text.ymax < frame.ymax)


def test_boxes_say_who_is_left_and_who_is_not():
    boxes = flow_boxes(flow_table(steps(60_000, [8000, 0, 40, 24_000, 0, 400, 0, 20])))
    assert [box["side"] for box in boxes] == ["left", *["right"] * 5, "left"]
    assert boxes[0]["text"] == "ICU stays in the source\n60,000 ICU stays, 48,000 patients\n7,500 deaths"
    assert boxes[1]["text"] == "Excluded: 8,000 stays\n\N{EN DASH} age below 18 years or unknown"
    assert boxes[-1]["text"] == "Cohort of this run\n27,540 ICU stays, 22,032 patients\n3,442 deaths"
    assert not any("hospital stay" in box["text"] for box in boxes)


def test_small_steps_are_merged_and_numbers_that_tell_them_are_withheld():
    boxes = flow_boxes(flow_table(steps(136, [1, 0, 0, 63, 0, 1, 0, 0])))
    assert len(boxes) == 3 and boxes[1]["text"].startswith("Excluded: 65 stays\n\N{EN DASH} age below")
    assert "fewer than 10 deaths" in boxes[-1]["text"]


@given(st.lists(st.integers(0, 40), min_size=8, max_size=8))
def test_no_small_number_is_drawn(excluded):
    for box in flow_boxes(flow_table(steps(1000, excluded))):
        first = box["text"].splitlines()[0]
        assert not any(first == f"Excluded: {n} stays" for n in range(1, 10))


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_texts_stay_inside_their_boxes_and_boxes_apart(style):
    boxes = flow_boxes(flow_table(steps(60_000, [8000, 30, 40, 24_000, 50, 400, 900, 20])))
    with use_style(style):
        figure = new_figure(flow._INCHES_A_LINE * flow._total_lines(boxes))
        axes = figure.add_subplot()
        flow._draw(axes, boxes)
        FigureCanvasAgg(figure).draw()  # lays the axes out
        frames = [patch.get_window_extent() for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
        texts = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(frames) == len(boxes) == 10 and len(texts) > 20
    for text in texts:
        assert sum(holds(frame, text) for frame in frames) == 1
    for index, frame in enumerate(frames):
        assert not any(frame.overlaps(other) for other in frames[index + 1 :])
    ordered = sorted(texts, key=lambda text: -text.y0)
    assert not any(a.overlaps(b) for a, b in pairwise(ordered))


# Stays that break each rule, and how many of them died; then those that break none.
EXCLUDED = {
    "age": (11, 0),
    "time_order": (12, 0),
    "organ_donor": (13, 13),
    "icu_hours": (14, 0),
    "hospital_hours": (15, 15),
    "full_window": (16, 16),
    "no_measurement": (17, 0),
}


def records_of_each_exclusion() -> Records:
    """98 patients of one stay for the exclusions, and 20 for the cohort, of whom 10 died."""
    records = Records()
    stays = {
        "age": lambda: records.patient(born="2100-01-01").stay(),
        "time_order": lambda: records.patient().stay(dischtime=moment(INTIME, -9)),
        "organ_donor": lambda: records.patient().stay(diagnosis="ORGAN DONOR", died_at_hour=60),
        "icu_hours": lambda: records.patient().stay(hours=47),
        "hospital_hours": lambda: records.patient().stay(died_at_hour=20),
        "full_window": lambda: records.patient().stay(died_at_hour=40),
        "no_measurement": lambda: records.patient().stay(),
    }
    for rule, (count, _) in EXCLUDED.items():
        for _ in range(count):
            stays[rule]()
    for number in range(20):
        a_usual_stay(records, died_at_hour=60 if number % 2 else None)
    return records


def test_json_csv_and_figure_tell_the_same_numbers(tmp_path):
    """From the records: of 118 stays, 11, 12, ... are excluded in turn; 54 died, of whom 13, 15 and 16 go."""
    left, deaths, expected = 118, 54, [(0, 118, 118, 54)]
    for excluded, died in EXCLUDED.values():
        left, deaths = left - excluded, deaths - died
        expected.append((excluded, left, left, deaths))
    assert expected[-1] == (17, 20, 20, 10)
    made = extracted(records_of_each_exclusion(), tmp_path)

    json_steps = made.flow["steps"]
    columns = ("excluded_stays", "stays", "patients", "deaths")
    assert [step["key"] for step in json_steps] == ["all", *EXCLUDED]
    assert [tuple(step[column] for column in columns) for step in json_steps] == expected

    flow_file, features = made.folder / "cohort_flow.json", made.folder / "features.parquet"
    names_of_all = [variable.name for variable in load_variables()]
    files = {"stays": made.folder / "stays.parquet", "measurements": made.folder / "measurements.parquet"}
    build_features(**files, variable_names=names_of_all, window_hours=48, carry_in_hours=0, out=features)
    write_cohort_tables(
        stays=files["stays"], features=features, flow=flow_file, profile="clinical", out_dir=tmp_path / "tables"
    )
    table = pd.read_csv(tmp_path / "tables" / "cohort_flow.csv").fillna({"excluded_stays": 0})
    assert table["step"].tolist() == [step["label"] for step in json_steps]
    assert [tuple(map(int, row)) for row in table[list(columns)].itertuples(index=False)] == expected

    plot_flow(flow=flow_file, out_dir=tmp_path / "figures", dpi=60, style="paper")
    svg = (tmp_path / "figures" / f"{names.COHORT_FIGURES[0]}.svg").read_text()
    drawn = re.findall(r"<!-- (.*?) -->", svg)  # what each group of glyphs says
    assert [int(n) for n in re.findall(r"Excluded: (\d+) stays", "\n".join(drawn))] == [n for n, *_ in expected[1:]]
    shown = re.findall(r"(\d+) ICU stays, (\d+) patients\n(\d+) deaths", "\n".join(drawn))
    assert [tuple(map(int, numbers)) for numbers in shown] == [expected[0][1:], expected[-1][1:]]


def test_the_files_have_their_name_and_the_same_bytes_again(tmp_path):
    write_json({"steps": steps(300, [20, 0, 0, 60, 0, 0, 0, 0])}, tmp_path / "flow.json")
    for folder in ("one", "other"):
        plot_flow(flow=tmp_path / "flow.json", out_dir=tmp_path / folder, dpi=60, style="paper")
    for suffix in ("svg", "png"):
        one, other = (tmp_path / folder / f"{names.COHORT_FIGURES[0]}.{suffix}" for folder in ("one", "other"))
        assert one.read_bytes() == other.read_bytes() and one.stat().st_size > 1000
