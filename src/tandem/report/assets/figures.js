// Figures of one label, the slider of thresholds, the search for a label, and buttons that copy a command.

// ---- counts at a threshold: all figures below follow from them
const ratio = (a, b) => (b ? a / b : null);
const shown = (value, digits = 3) => (value === null ? "–" : value.toFixed(digits));
function fOf(hits, support, predicted) {
  const b2 = data.rule.beta ** 2, size = b2 * support + predicted;
  return size ? ((1 + b2) * hits) / size : data.rule.zero_division;
}
const curveF = (c) => data.grid.map((_, i) => fOf(c.counts.hits[i], c.support, c.counts.predicted[i]));
const fName = () => `F${data.rule.beta}`;
function atThreshold(c, i) {
  const predicted = c.counts.predicted[i], hits = c.counts.hits[i];
  const others = data.classes.reduce((sum, other) => sum + (other === c ? 0 : other.tuned_predicted ?? other.predicted), 0);
  return {
    precision: ratio(hits, predicted), recall: ratio(hits, c.support), [fName()]: fOf(hits, c.support, predicted),
    "rows with the label": predicted, "labels a row": (others + predicted) / data.rule.rows,
  };
}
function atThresholdOfAll(i) {
  const sum = (value) => data.classes.reduce((total, c) => total + value(c), 0);
  const predicted = sum((c) => c.counts.predicted[i]), hits = sum((c) => c.counts.hits[i]), support = sum((c) => c.support);
  return {
    "micro precision": ratio(hits, predicted), "micro recall": ratio(hits, support), [`micro ${fName()}`]: fOf(hits, support, predicted),
    [`macro ${fName()}`]: sum((c) => fOf(c.counts.hits[i], c.support, c.counts.predicted[i])) / data.classes.length,
    "labels a row": predicted / data.rule.rows,
  };
}

// a slider over the grid: its numbers as text, which a screen reader hears when the slider rests; draw(i) follows it
function thresholdSlider(name, start, figuresAt, draw = () => {}) {
  const box = make("div", "slider"), label = make("label", "", `${name} `), input = make("input");
  const value = make("b", "at"), numbers = make("dl", "numbers"), spoken = make("span", "spoken");
  Object.assign(input, { type: "range", min: 0, max: data.grid.length - 1, step: 1 });
  input.value = data.grid.reduce((best, t, i) => (Math.abs(t - start) < Math.abs(data.grid[best] - start) ? i : best), 0);
  spoken.setAttribute("aria-live", "polite");
  label.append(input);
  box.append(label, value, numbers, spoken);
  let waiting = 0;
  function update(event) {
    const i = Number(input.value), t = data.grid[i].toFixed(2);
    const texts = Object.entries(figuresAt(i)).map(([key, v]) => [key, key.startsWith("rows") ? String(v) : shown(v, key === "labels a row" ? 2 : 3)]);
    value.textContent = t;
    input.setAttribute("aria-valuetext", `threshold ${t}`);
    numbers.replaceChildren(...texts.map(([key, text]) => {
      const pair = make("div");
      pair.append(make("dt", "", key), make("dd", "", text));
      return pair;
    }));
    draw(i);
    clearTimeout(waiting);
    if (event) waiting = setTimeout(() => { spoken.textContent = texts.map(([key, text]) => `${key} ${text}`).join(", "); }, 700);
  }
  input.addEventListener("input", update);
  update();
  return box;
}
if (find("threshold-all") && data.classes) find("threshold-all").append(thresholdSlider("Threshold of all labels", 0.5, atThresholdOfAll));

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
// what: of which the values are; greaterIsBetter: of them
function curveOf(c, values, { what = fName(), greaterIsBetter = true, ...options }) {
  const line = data.grid.map((t, i) => [t, values[i]]);
  const band = c.threshold !== null && c.spread !== null ? [c.threshold - c.spread, c.threshold + c.spread] : null;
  const best = bestPoint(data.grid, values, greaterIsBetter), tuned = c.threshold === null ? "" : `; tuned threshold ${c.threshold.toFixed(3)}`;
  const about = `${what} of ${c.name} by threshold: best ${best[1].toFixed(3)} at ${best[0]}${tuned}`;
  return plot({ x: [0, 1], line, mark: c.threshold, band, best, about, ...options });
}
function precisionRecall(c, i) {
  const points = data.grid.map((_, k) => [ratio(c.counts.hits[k], c.support), ratio(c.counts.hits[k], c.counts.predicted[k])]);
  const line = points.filter(([r, p]) => r !== null && p !== null).sort((a, b) => a[0] - b[0]);
  const [r, p] = points[i], there = r !== null && p !== null;
  const about = `precision against recall of ${c.name}` + (there ? `: precision ${p.toFixed(3)} at recall ${r.toFixed(3)} with threshold ${data.grid[i]}` : "");
  return plot({ x: [0, 1], y: [0, 1], line, best: there ? [r, p] : null, xName: "recall", yName: "precision", about });
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
function experimentsAt(c) {
  const sign = (v) => `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(3)}`;
  const names = data.compared.length ? data.compared : data.ap_names;
  return names.map((name, k) => {
    const parts = [];
    if (c.f_of) parts.push(`${fName()} ${c.f_of[k].toFixed(3)}`);
    if (c.gains && k) parts.push(`${sign(c.gains[k - 1][0])} against ${names[0]}, ${sign(c.gains[k - 1][1])} to ${sign(c.gains[k - 1][2])}`);
    const ap = c.ap_of[data.ap_names.indexOf(name)];
    if (ap !== null && ap !== undefined) parts.push(`average precision ${ap.toFixed(3)}`);
    return [name, parts.join(" · ")];
  }).filter(([, text]) => text);
}
function showDetail(row) {
  if (closeDetail() === row) return;
  const c = data.classes[Number(row.dataset.label)];
  const detail = make("tr", "detail"), cell = make("td"), panel = make("div", "panel"), curves = make("div", "curve");
  cell.colSpan = row.cells.length;
  const tuned = c.threshold === null ? "" : ` · tuned threshold ${c.threshold.toFixed(3)}`;
  const values = curveF(c), beside = make("div");
  const slider = thresholdSlider(`Threshold of ${c.name}`, c.threshold ?? 0.5, (i) => atThreshold(c, i), (i) => {
    const f = curveOf(c, values, { y: [0, 1], best: [data.grid[i], values[i]], xName: "threshold", yName: "F", about: `F of ${c.name}: ${values[i].toFixed(3)} at threshold ${data.grid[i]}` });
    curves.replaceChildren(figure("Precision against recall, at the thresholds of the slider", precisionRecall(c, i)), figure(`F at each threshold${tuned}`, f));
  });
  slider.classList.add("whole");
  curves.classList.add("whole");
  slider.append(make("small", "", "Labels a row: the other labels at their tuned thresholds."));
  const total = c.calibration.reduce((s, b) => s + b[2], 0);
  const dots = c.calibration.map(([p, rate, n]) => [p, rate, 2.5 + 5 * Math.sqrt(n / total), `${n} rows: mean probability ${p.toFixed(3)}, rate ${rate.toFixed(3)}`]);
  panel.append(slider, curves);
  panel.append(figure("Calibration: mean probability against rate", plot({ x: [0, 1], y: [0, 1], diagonal: true, dots, line: c.calibration.map(([p, r]) => [p, r]), xName: "probability", yName: "rate", about: `calibration of ${c.name}: expected calibration error ${c.calibration_error.toFixed(3)}` })));
  if (c.metric_curve) {
    const low = Math.min(...c.metric_curve), high = Math.max(...c.metric_curve);
    panel.append(figure(`In-sample ${data.tuned_for} at each threshold, other thresholds fixed`, curveOf(c, c.metric_curve, { y: [low, high], xName: "threshold", yName: "score", what: data.tuned_for, greaterIsBetter: data.rule.greater_is_better })));
  }
  const others = experimentsAt(c);
  if (others.length) panel.append(listOf("By experiment, paired 95 % intervals", others));
  const rowCounts = (pairs) => pairs.map(([j, n]) => [labelName(j), `${n} row${n === 1 ? "" : "s"}`]);
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
  row.hidden = false;
  if (row.nextElementSibling?.className !== "detail") showDetail(row);
  row.scrollIntoView({ block: "center" });
  row.querySelector("button").focus({ preventScroll: true });
});

// ---- search for a label
const classSearch = find("class-search");
if (classSearch) classSearch.addEventListener("input", () => {
  const words = classSearch.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  closeDetail();
  for (const row of classTable.tBodies[0].rows) {
    const name = labelName(Number(row.dataset.label)).toLowerCase();
    row.hidden = !words.every((word) => name.includes(word));
    found += !row.hidden;
  }
  find("class-count").textContent = `${found} of ${data.classes.length} labels`;
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
    box.append(curveOf(c, curveF(c), { width: 170, height: 104, y: [0, 1], ticks: false }));
  });
}

// ---- buttons that copy the text before them
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // not allowed, or no secure context
    const field = make("textarea");
    field.value = text;
    field.setAttribute("aria-label", "text to copy");
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button.copy");
  if (!button) return;
  const done = await copyText(button.previousElementSibling.textContent);
  button.focus({ preventScroll: true });
  button.textContent = done ? "Copied" : "Select it, then copy";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});
