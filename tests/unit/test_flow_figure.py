"""The chart of the cohort flow: what its boxes say, that nothing small shows, and that texts stay in their boxes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import BboxBase

from ehr_attack.figures import flow, names
from ehr_attack.figures.flow import flow_boxes, plot_flow
from ehr_attack.figures.style import new_figure, use_style
from ehr_attack.storage import write_json
from ehr_attack.summaries.cohort import flow_table

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


def test_the_files_have_their_name_and_the_same_bytes_again(tmp_path):
    write_json({"steps": steps(300, [20, 0, 0, 60, 0, 0, 0, 0])}, tmp_path / "flow.json")
    for folder in ("one", "other"):
        plot_flow(flow=tmp_path / "flow.json", out_dir=tmp_path / folder, dpi=60, style="paper")
    for suffix in ("svg", "png"):
        one, other = (tmp_path / folder / f"{names.COHORT_FIGURES[0]}.{suffix}" for folder in ("one", "other"))
        assert one.read_bytes() == other.read_bytes() and one.stat().st_size > 1000
