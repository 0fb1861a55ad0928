// Measures the report from inside; CAPTION and NAMES say which table and columns to sort. The result is the page's title.

const wait = (ready) => new Promise((done) => {
  const look = () => ready() ? done() : setTimeout(look, 50);
  look();
});
const shown = (element) => element.checkVisibility();
const column = (table, index) => [...table.tBodies[0].rows].map((row) => row.cells[index].innerText.trim());

function sorting() {
  const table = [...document.querySelectorAll("table")].find((table) => table.caption.innerText.startsWith(CAPTION));
  const heads = [...table.tHead.rows[0].cells];
  const found = {};
  for (const name of NAMES) {
    const index = heads.findIndex((head) => head.innerText.startsWith(name));
    found[name] = ["before", "ascending", "descending"].map((state) => {
      if (state !== "before") heads[index].querySelector("button").click();
      return { state: heads[index].getAttribute("aria-sort"), cells: column(table, index) };
    });
  }
  return { found, sortable: document.querySelectorAll("thead button").length };
}

async function hovered(map, number) {
  const trace = map.data[number];
  const row = trace.z.findIndex((line) => line.some((value) => value > 0));
  const cell = trace.z[row].findIndex((value) => value > 0);
  // Plotly leaves out a hover that comes within 50 ms of another.
  await new Promise((done) => setTimeout(done, 100));
  Plotly.Fx.hover(map, [{ curveNumber: number, pointNumber: [row, cell] }]);
  return { text: map.querySelector(".hoverlayer").textContent, label: trace.y[row], hour: trace.x[cell],
           value: trace.z[row][cell] };
}

async function maps() {
  const found = [];
  for (const map of document.querySelectorAll(".live-map")) {
    const size = map.querySelector(".main-svg").getBoundingClientRect();
    const before = map.data[0].z.flat();
    const choice = document.getElementById(map.dataset.choice);
    const grey = await hovered(map, 2), hover = await hovered(map, 0);
    choice.selectedIndex = 4;
    choice.dispatchEvent(new Event("change"));
    found.push({ width: size.width, height: size.height, hover, before, after: map.data[0].z.flat(),
                 grey, greyAfter: map.data[2].z.flat(),
                 ink: getComputedStyle(map.querySelector(".ytick text")).fill });
  }
  return found;
}

function contrasts() {
  const channel = (value) => { value /= 255; return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
  const light = (colour) => { const [r, g, b] = colour.match(/[\d.]+/g).map(Number).map(channel);
                              return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (element) => { for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!/, 0\)$/.test(colour)) return colour; } return "rgb(255, 255, 255)"; };
  const texts = [...document.querySelectorAll("p, li, td, th, dt, dd, a, h1, h2, h3, figcaption, caption span, .badge, summary, small, label, select")];
  return Math.min(...texts.filter(shown).map((element) => {
    const [a, b] = [getComputedStyle(element).color, behind(element)].map(light).sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }));
}

addEventListener("load", async () => {
  document.querySelectorAll("details").forEach((part) => part.open = true);
  await wait(() => document.documentElement.classList.contains("live"));
  const style = getComputedStyle(document.body), root = document.documentElement;
  const found = {
    background: style.backgroundColor, color: style.color,
    overflow: root.scrollWidth - root.clientWidth,
    images: [...document.images].filter(shown).map((image) => [image.naturalWidth, image.getBoundingClientRect().width]),
    hidden: [...document.images].filter((image) => !shown(image)).length,
    headings: [...document.querySelectorAll("h1, h2, h3, h4")].filter(shown).map((head) => Number(head.tagName[1])),
    unresolved: [...document.querySelectorAll("a[href^='#']")].map((link) => link.getAttribute("href"))
      .filter((target) => !document.getElementById(target.slice(1))),
    contrast: contrasts(),
    sorting: sorting(),
    maps: await maps(),
    requests: performance.getEntriesByType("resource").map((entry) => entry.name)
      .filter((name) => !/^(data|blob):/.test(name)),
  };
  document.title = "probe:" + JSON.stringify(found);
});