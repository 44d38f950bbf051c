// Sorting, filters, cards and curves. All texts come from untrusted files: they are only set as textContent.
const data = JSON.parse(document.getElementById("payload").textContent);
const PAGE = 24; // cards added at a time
const KINDS = { false_negative: "false negative", false_positive: "false positive", remove: "given, looks wrong", add: "missing, looks right" };
const termNames = Object.fromEntries(data.terms.map(({ key, name }) => [key, name]));

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
const find = (id) => document.getElementById(id);
const labelName = (j) => data.names[j];

// ---- tables
function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  closeDetail();
  const value = (row) => row.cells[column].dataset.v;
  const rows = [...body.rows], values = new Map(rows.map((row) => [row, value(row)]));
  const numeric = [...values.values()].every((v) => v === "" || Number.isFinite(Number(v)));
  const sign = descending ? -1 : 1;
  rows.sort((a, b) => {
    const [u, v] = [values.get(a), values.get(b)];
    if (u === "" || v === "") return (u === "") - (v === ""); // unknown values are last
    return sign * (numeric ? Number(u) - Number(v) : u.localeCompare(v, undefined, { numeric: true }));
  });
  body.append(...rows);
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.firstElementChild.addEventListener("click", (event) => {
      const now = head.getAttribute("aria-sort");
      const descending = now === "none" ? event.currentTarget.dataset.first === "desc" : now === "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortBy(table, column, descending);
    });
  });
}

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

// ---- cards
function imageOf(item) {
  if (!data.images) return document.createDocumentFragment(); // text only
  const box = make("div", "image"), source = data.images[item.row];
  if (!source) { box.textContent = "no image"; return box; }
  const image = make("img");
  image.alt = item.caption || item.id;
  image.decoding = "async";
  image.src = source;
  box.append(image);
  return box;
}
function chips(labels, kinds = new Map()) {
  const box = make("div", "chips");
  for (const j of labels) box.append(make("span", `chip ${kinds.get(j) || ""}`, labelName(j)));
  if (!labels.length) box.append(make("small", "", "no label"));
  return box;
}
function titled(title, element) {
  const box = make("div", "titled");
  box.append(make("small", "", title), element);
  return box;
}
function termBar(terms) {
  const bar = make("div", "terms");
  const total = (sign) => terms.reduce((s, v) => s + Math.max(sign * v, 0), 0);
  const scale = 50 / Math.max(total(1), total(-1), 4); // percent of the width per unit of logit
  let up = 0, down = 0;
  terms.forEach((v, i) => {
    const part = make("i", `t-${data.terms[i].key}`), width = Math.abs(v) * scale;
    part.style.width = `${width}%`;
    if (v > 0) { part.style.left = `${50 + up}%`; up += width; } else { part.style.right = `${50 + down}%`; down += width; }
    bar.append(part);
  });
  bar.title = terms.map((v, i) => v && `${data.terms[i].name} ${v > 0 ? "+" : ""}${v}`).filter(Boolean).join(" · ");
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", bar.title);
  return bar;
}
function card(item, note) {
  const box = make("article", "item"), side = make("div"), head = make("div", "head");
  head.append(make("b", "", item.id), make("span", "", note));
  side.append(head);
  if (item.caption !== null) side.append(make("p", "caption", item.caption || "(empty caption)"));
  box.append(imageOf(item), side);
  return [box, side];
}
function cellLine(cell) {
  const line = make("div", "cell"), summary = make("div", "summary");
  summary.append(make("span", `chip ${cell.kind}`, labelName(cell.label)), make("span", "", `${KINDS[cell.kind]} · ${cell.p.toFixed(cell.p > 0.001 && cell.p < 0.999 ? 3 : 4)}`));
  line.append(summary);
  line.classList.toggle("bare", !cell.terms);
  if (cell.terms) {
    const cause = make("span", "cause");
    cause.append(make("i", `t-${cell.cause}`), document.createTextNode(termNames[cell.cause]));
    summary.append(cause);
    line.append(termBar(cell.terms));
  }
  return line;
}
function cellsOf(item) {
  const cells = make("div", "cells");
  for (const cell of item.wrong) cells.append(cellLine(cell));
  return cells;
}
function mistakeCard(item) {
  const [box, side] = card(item, `F ${item.score.toFixed(2)}`);
  const kinds = new Map(item.wrong.map((cell) => [cell.label, cell.kind]));
  side.append(titled("true", chips(item.true, kinds)), titled("predicted", chips(item.pred, kinds)));
  box.append(cellsOf(item));
  return box;
}
function labelErrorCard(item) {
  const [box, side] = card(item, item.fold === null ? "" : `fold ${item.fold}`);
  side.append(titled("given", chips(item.true, new Map(item.wrong.map((cell) => [cell.label, cell.kind])))));
  box.append(cellsOf(item));
  return box;
}
function duplicateCard(group) {
  const box = make("article", "item"), images = make("div", "group");
  for (const item of group.rows) {
    const one = make("div");
    one.append(imageOf(item), make("b", "", item.id), chips(item.true, new Map(group.differ.map((j) => [j, "warning"]))));
    images.append(one);
  }
  box.append(images);
  return box;
}

// a list of cards that is extended by PAGE cards at a time
function extendable(name, items, draw, noun) {
  const form = find(`${name}-filters`), box = find(`${name}-cards`), more = find(`${name}-more`), count = find(`${name}-count`);
  if (!form) return;
  let shown = [], drawn = 0;
  function grow() {
    box.append(...shown.slice(drawn, drawn + PAGE).map(draw));
    drawn = Math.min(drawn + PAGE, shown.length);
    more.hidden = drawn >= shown.length;
  }
  function filter() {
    const wanted = Object.fromEntries(new FormData(form));
    const fits = (cell) => (!wanted.label || cell.label === Number(wanted.label)) && (!wanted.kind || cell.kind === wanted.kind) && (!wanted.cause || cell.cause === wanted.cause);
    shown = items.filter((item) => item.wrong.some(fits));
    const confidence = (item) => Math.max(...item.wrong.filter(fits).map((cell) => (cell.kind === "false_negative" ? 1 - cell.p : cell.p)));
    if (wanted.order === "confidence") shown = shown.map((item) => [confidence(item), item]).sort((a, b) => b[0] - a[0]).map(([, item]) => item);
    box.replaceChildren();
    drawn = 0;
    grow();
    count.textContent = `${shown.length} ${noun}`;
  }
  form.addEventListener("change", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", grow);
  filter();
}
extendable("mistake", data.mistakes || [], mistakeCard, "rows");
extendable("label-error", data.label_errors || [], labelErrorCard, "of the listed rows");
if (find("duplicate-cards")) find("duplicate-cards").append(...data.duplicates.map(duplicateCard));

function mistakesOf(name) {
  const form = find("mistake-filters");
  form.elements.label.value = data.names.indexOf(name);
  form.dispatchEvent(new Event("change"));
  find("mistake-filters").scrollIntoView({ block: "start" });
}
for (const button of document.querySelectorAll("[data-mistakes-of]")) button.addEventListener("click", () => mistakesOf(button.dataset.mistakesOf));

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
