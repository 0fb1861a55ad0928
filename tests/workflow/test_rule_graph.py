"""The pipeline as README draws it is the one that Snakemake runs."""

import os
import subprocess
import sys

from docs.rule_graph import BEGIN, END, drawn, edges_of, reduced


def test_readme_draws_the_real_rule_graph(project_dir, tmp_path):
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=project_dir, env=os.environ, capture_output=True, text=True, check=True)
    edges = edges_of(done.stdout)
    assert ("train", "attack") in edges
    shown = (project_dir / "README.md").read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == drawn(reduced(edges)), "run `make docs`"


def test_an_arrow_that_follows_from_others_is_left_out():
    assert reduced({("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("a", "d")}) == {("a", "b"), ("b", "c"), ("c", "d")}
