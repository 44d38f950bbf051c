// The page's data, and the curves of its labels. All texts come from untrusted files: they are only set as textContent.
const data = JSON.parse(document.getElementById("payload").textContent);
const termNames = Object.fromEntries(data.terms.map(({ key, name }) => [key, name]));

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
const find = (id) => document.getElementById(id);
const labelName = (j) => data.names[j];

// ---- one label: its curves below its row
function closeDetail() {
  const open = document.querySelector("tr.detail");
  if (!open) return null;
  const row = open.previousElementSibling;
  row.querySelector("button").setAttribute("aria-expanded", "false");
  open.remove();
  return row;
}
function figure(title, svg) {
  const element = make("figure");
  element.append(make("figcaption", "", title), svg);
  return element;
}
function curveOf(c, values, options) {
  const line = data.grid.map((t, i) => [t, values[i]]);
  const band = c.threshold !== null && c.spread !== null ? [c.threshold - c.spread, c.threshold + c.spread] : null;
  return plot({ x: [0, 1], line, mark: c.threshold, band, best: maximum(data.grid, values), ...options });
}
function listOf(title, pairs) {
  const box = make("div");
  box.append(make("b", "", title));
  const list = make("ul");
  for (const [name, text] of pairs) list.append(make("li", "", `${name}: ${text}`));
  if (!pairs.length) list.append(make("li", "", "none"));
  box.append(list);
  return box;
}
function showDetail(row) {
  if (closeDetail() === row) return;
  const c = data.classes[Number(row.dataset.label)];
  const detail = make("tr", "detail"), cell = make("td"), panel = make("div", "panel");
  cell.colSpan = row.cells.length;
  const dots = c.calibration.map(([p, rate, n]) => [p, rate, 2.5 + 5 * Math.sqrt(n / c.calibration.reduce((s, b) => s + b[2], 0)), `${n} rows: mean probability ${p.toFixed(3)}, rate ${rate.toFixed(3)}`]);
  panel.append(figure("Calibration: mean probability against rate", plot({ x: [0, 1], y: [0, 1], diagonal: true, dots, line: c.calibration.map(([p, r]) => [p, r]), xName: "probability", yName: "rate", about: `calibration of ${c.name}` })));
  panel.append(figure("F of the label at each threshold", curveOf(c, c.curve, { y: [0, 1], xName: "threshold", yName: "F", about: `F of ${c.name}` })));
  if (c.metric_curve) {
    const low = Math.min(...c.metric_curve), high = Math.max(...c.metric_curve);
    panel.append(figure(`In-sample ${data.tuned_for} at each threshold, other thresholds fixed`, curveOf(c, c.metric_curve, { y: [low, high], xName: "threshold", yName: "score", about: `score by threshold of ${c.name}` })));
  }
  const aps = Object.entries(c.ap_by_experiment).sort((a, b) => b[1] - a[1]);
  panel.append(listOf("Average precision by experiment", aps.map(([name, ap]) => [name, ap.toFixed(3)])));
  const rowCounts = (pairs) => pairs.map(([j, n]) => [labelName(j), `${n} row${n === 1 ? "" : "s"}`]);
  const beside = make("div");
  beside.append(listOf(`False positives on rows with a false negative of this label (${c.false_negatives})`, rowCounts(c.confused.false_positives)));
  beside.append(listOf(`False negatives on rows with a false positive of this label (${c.false_positives})`, rowCounts(c.confused.false_negatives)));
  const button = make("button", "link", "See its errors");
  button.type = "button";
  button.addEventListener("click", () => mistakesOf(c.name));
  beside.append(button);
  panel.append(beside);
  cell.append(panel);
  detail.append(cell);
  row.after(detail);
  row.querySelector("button").setAttribute("aria-expanded", "true");
}
const classTable = find("class-table");
if (classTable) classTable.tBodies[0].addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-label]");
  if (row) showDetail(row);
});
for (const button of document.querySelectorAll("[data-class]")) button.addEventListener("click", () => {
  const row = classTable.querySelector(`tr[data-label="${data.names.indexOf(button.dataset.class)}"]`);
  if (row.nextElementSibling?.className !== "detail") showDetail(row);
  row.scrollIntoView({ block: "center" });
});

// ---- threshold curves
const curveList = find("threshold-curves");
if (curveList) {
  const boxes = data.classes.map((c, j) => {
    const box = make("figure");
    box.dataset.label = j;
    const f = c.f1 === null ? "–" : c.f1.toFixed(2);
    box.append(make("figcaption", "", `${c.name} · F ${f} · ${c.support} rows`));
    curveList.append(box);
    return box;
  });
  whenVisible(boxes, (box) => {
    const c = data.classes[Number(box.dataset.label)];
    box.append(curveOf(c, c.curve, { width: 170, height: 104, y: [0, 1], ticks: false, about: `F of ${c.name} by threshold` }));
  });
}

// ---- mark the section in view in the navigation
const links = new Map([...document.querySelectorAll("nav a[href]")].map((a) => [a.getAttribute("href").slice(1), a]));
const here = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) {
    for (const link of links.values()) link.classList.remove("here");
    const link = links.get(entry.target.id);
    link.classList.add("here");
    const bar = link.parentElement;
    bar.scrollLeft = link.offsetLeft - bar.clientWidth / 2;
  }
}, { rootMargin: "-15% 0px -80% 0px" });
for (const section of document.querySelectorAll("main > section")) here.observe(section);
