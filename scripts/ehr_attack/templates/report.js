"use strict";
(() => {
  const root = document.documentElement;

  // Tables: a click on a head cell sorts by it, a second one the other way round. Hidden and missing values go last.
  const MISSING = /^(|\u2013|withheld)$/;

  function asNumber(text) {
    const found = text.replace(/[,\s]/g, "").replace(/^\u2212/, "-").match(/^(<?)(-?\d+(?:\.\d+)?)/);
    return found ? Number(found[2]) - (found[1] ? 0.5 : 0) : NaN;
  }

  function sortRows(table, column, descending) {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, text: row.cells[column].innerText.trim() }));
    const present = rows.filter(({ text }) => !MISSING.test(text));
    const numeric = present.every(({ text }) => !Number.isNaN(asNumber(text)));
    const order = (a, b) => numeric ? asNumber(a.text) - asNumber(b.text) : a.text.localeCompare(b.text, "en");
    present.sort((a, b) => (descending ? order(b, a) : order(a, b)));
    body.append(...present.map(({ row }) => row), ...rows.filter(({ text }) => MISSING.test(text)).map(({ row }) => row));
  }

  function makeSortable(table) {
    const heads = table.tHead && table.tHead.rows.length === 1 ? [...table.tHead.rows[0].cells] : [];
    const alike = heads.length && heads.every((head) => head.tagName === "TH") && !table.querySelector("tr.total");
    const simple = table.tBodies.length === 1 && [...table.tBodies[0].rows].every((row) =>
      row.cells.length === heads.length && [...row.cells].every((cell) => cell.colSpan === 1 && cell.rowSpan === 1));
    if (!alike || !simple || table.tBodies[0].rows.length < 3) return;
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sortRows(table, column, descending);
      });
    });
  }

  // Maps: plotly draws them in the colours of the page.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function themed(figure) {
    const layout = {
      ...figure.layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: colour("--line"),
      font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
      hoverlabel: { ...figure.layout.hoverlabel, bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    };
    const scale = figure.layout.meta[dark.matches ? "dark" : "light"];
    layout.coloraxis = { ...figure.layout.coloraxis, colorscale: scale };
    return layout;
  }

  function showMeasure(figure, measure) {
    figure.data.filter((trace) => trace.customdata).forEach((trace) => { trace.z = trace.customdata.map((line) => line.map((cell) => cell[measure])); });
  }

  function drawMaps() {
    root.classList.add("live");
    document.querySelectorAll(".live-map").forEach((element) => {
      const figure = JSON.parse(document.getElementById(element.dataset.figure).textContent);
      const choice = document.getElementById(element.dataset.choice);
      const draw = () => Plotly.react(element, figure.data, themed(figure), { displayModeBar: false, responsive: true });
      draw();
      choice.addEventListener("change", () => { showMeasure(figure, Number(choice.value)); draw(); });
      dark.addEventListener("change", draw);
    });
  }

  async function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed.textContent.split(",")[1]), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  document.querySelectorAll("main table").forEach(makeSortable);
  const packed = document.getElementById("plotly");
  if (packed && "DecompressionStream" in window) unpack(packed).then(drawMaps);
})();
