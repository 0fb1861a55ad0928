"""Put the real rule graph into a page: `snakemake --rulegraph mermaid-js | python docs/rule_graph.py PAGE`.

`make docs` does so.

What follows from other arrows is left out: the graph that is drawn is the transitive reduction.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

BEGIN, END = "<!-- rule graph: make docs -->\n", "<!-- end of rule graph -->"
_NODE, _EDGE = re.compile(r"^\s*(id\d+)\[(.+)\]$", re.MULTILINE), re.compile(r"^\s*(id\d+) --> (id\d+)$", re.MULTILINE)

Edges = set[tuple[str, str]]


def edges_of(mermaid: str) -> Edges:
    """The arrows between rules, from the one whose output is read to the one that reads it."""
    names = dict(_NODE.findall(mermaid))
    return {(names[source], names[target]) for source, target in _EDGE.findall(mermaid)}


def reduced(edges: Edges) -> Edges:
    """The arrows that do not follow from others."""
    return {(source, target) for source, target in edges if not _reaches(edges - {(source, target)}, source, target)}


def drawn(edges: Edges) -> str:
    """The graph as a Mermaid block, sorted."""
    arrows = "".join(f"  {source} --> {target}\n" for source, target in sorted(edges))
    return f"```mermaid\nflowchart LR\n{arrows}```\n"


def _reaches(edges: Edges, source: str, target: str) -> bool:
    return target in set(_below(edges, source))


def _below(edges: Edges, source: str) -> Iterator[str]:
    waiting, seen = [source], {source}
    while waiting:
        place = waiting.pop()
        for start, end in edges:
            if start == place and end not in seen:
                seen.add(end)
                waiting.append(end)
                yield end


def main() -> None:
    """Read the graph from standard input and write it between the marks of the page that is named."""
    page = Path(sys.argv[1])
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{page}: no place for the rule graph. Expected the lines {BEGIN.strip()} and {END}.")
    page.write_text(before + begin + drawn(reduced(edges_of(sys.stdin.read()))) + end + after, encoding="utf-8")


if __name__ == "__main__":
    main()
