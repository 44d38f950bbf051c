// Cards of rows with filters that stand in the address, and a dialog for each. Texts are only set as textContent.
const PAGE = 24; // cards added at a time
const KINDS = { false_negative: "false negative", false_positive: "false positive", remove: "given, looks wrong",
  add: "missing, looks right", taken: "predicted, may be wrong", left_out: "not predicted, may be there" };

const pictureOf = (item) => data.images?.[item.split][item.row];
function imageOf(item) {
  const image = make("img");
  image.alt = item.caption || item.id;
  image.decoding = "async";
  image.src = pictureOf(item);
  return image;
}
// the button that opens the dialog; rows() are those that its arrow keys go through
function opener(item, rows) {
  const button = make("button", data.images ? "image open" : "link open");
  button.type = "button";
  button.dataset.open = `${item.split}${item.row}`;
  button.setAttribute("aria-haspopup", "dialog");
  button.setAttribute("aria-label", `Details of ${item.id}`);
  button.append(!data.images ? "details" : pictureOf(item) ? imageOf(item) : "no image");
  button.addEventListener("click", () => dialog.open(item, rows(), button));
  return button;
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
function card(item, note, rows) {
  const box = make("article", "item"), side = make("div"), head = make("div", "head");
  head.append(make("b", "", item.id), make("span", "", note));
  side.append(head);
  if (item.caption !== null) side.append(make("p", "caption", item.caption || "(empty caption)"));
  box.append(opener(item, rows), side);
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
function mistakeCard(item, rows) {
  const [box, side] = card(item, `F ${item.score.toFixed(2)}`, rows);
  const kinds = new Map(item.wrong.map((cell) => [cell.label, cell.kind]));
  side.append(titled("true", chips(item.true, kinds)), titled("predicted", chips(item.pred, kinds)));
  box.append(cellsOf(item));
  return box;
}
function testCard(item, rows) {
  const [box, side] = card(item, `${item.score.toFixed(2)} wrong expected`, rows);
  side.append(titled("predicted", chips(item.pred)));
  box.append(cellsOf(item));
  return box;
}
function labelErrorCard(item, rows) {
  const [box, side] = card(item, item.fold === null ? "" : `fold ${item.fold}`, rows);
  side.append(titled("given", chips(item.true, new Map(item.wrong.map((cell) => [cell.label, cell.kind])))));
  box.append(cellsOf(item));
  return box;
}
function duplicateCard(group) {
  const box = make("article", "item"), images = make("div", "group");
  for (const item of group.rows) {
    const one = make("div");
    one.append(opener(item, () => group.rows), make("b", "", item.id), chips(item.true, new Map(group.differ.map((j) => [j, "warning"]))));
    images.append(one);
  }
  box.append(images);
  return box;
}

// ---- the dialog
function copyButton(text) {
  const button = make("button", "tool", "Copy");
  button.type = "button";
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
    catch { button.textContent = "Select the command and copy it"; }
  });
  return button;
}
function probabilityTable(item) {
  const table = make("table", "plain"), head = table.createTHead().insertRow(), body = table.createTBody();
  const columns = ["label", "probability", ...(item.true ? ["given"] : []), "predicted", ...(item.terms ? ["terms of the logit"] : [])];
  for (const name of columns) { const cell = make("th", "", name); cell.scope = "col"; head.append(cell); }
  const order = item.proba.map((p, j) => [p, j]).sort((a, b) => b[0] - a[0]);
  for (const [p, j] of order) {
    const row = body.insertRow(), label = make("th", "", labelName(j));
    label.scope = "row";
    row.append(label);
    row.insertCell().textContent = (p / data.scale).toFixed(4);
    if (item.true) row.insertCell().textContent = item.true.includes(j) ? "yes" : "";
    row.insertCell().textContent = item.pred.includes(j) ? "yes" : "";
    if (item.true && item.true.includes(j) !== item.pred.includes(j)) row.className = "wrong";
    if (!item.terms) continue;
    const cell = row.insertCell(), terms = item.terms[j];
    if (!terms) continue;
    const texts = terms.map((v, i) => v && `${data.terms[i].name} ${v > 0 ? "+" : "−"}${Math.abs(v)}`).filter(Boolean);
    cell.append(termBar(terms), make("small", "", texts.join(" · ")));
  }
  return table;
}
// the picture, and a button for each label that lays its heat map over it
function pictureWithHeat(item) {
  const box = make("div", "picture"), frame = make("div", "frame"), heat = make("img", "heat"), buttons = make("p", "heats");
  frame.append(imageOf(item));
  box.append(frame);
  for (const [j, uri] of Object.entries(item.heat || {})) {
    const button = make("button", "tool", labelName(j));
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      const shows = button.getAttribute("aria-pressed") === "false";
      for (const other of buttons.querySelectorAll("button")) other.setAttribute("aria-pressed", String(shows && other === button));
      heat.remove();
      if (!shows) return;
      [heat.src, heat.alt] = [uri, `bright: evidence for ${labelName(j)}`];
      frame.append(heat);
    });
    buttons.append(button);
  }
  if (buttons.children.length) {
    buttons.prepend("Heat map: ");
    box.append(buttons);
  }
  return box;
}
const dialog = (() => {
  const box = make("dialog", "row-dialog"), content = make("div"), bar = make("div", "bar"), title = make("h2");
  const place = make("span", "place"), buttons = {};
  title.id = "row-dialog-title";
  box.setAttribute("aria-labelledby", title.id);
  place.setAttribute("aria-live", "polite");
  for (const [key, text] of [["previous", "← Previous"], ["next", "Next →"], ["close", "Close"]]) {
    buttons[key] = make("button", "tool", text);
    buttons[key].type = "button";
  }
  bar.append(title, place, ...Object.values(buttons));
  box.append(bar, content);
  document.body.append(box);
  let rows = [], at = 0, from = null;
  function show(index) {
    at = index;
    const item = rows[at], facts = make("div", "facts-of-row"), source = pictureOf(item);
    title.textContent = item.id;
    place.textContent = `${at + 1} of ${rows.length}`;
    [buttons.previous.disabled, buttons.next.disabled] = [at === 0, at === rows.length - 1];
    content.className = source ? "body" : "body text";
    if (item.caption !== null) facts.append(make("p", "caption", item.caption || "(empty caption)"));
    const kinds = new Map((item.wrong || []).map((cell) => [cell.label, cell.kind]));
    if (item.true) facts.append(titled("given", chips(item.true, kinds)));
    if (item.pred) facts.append(titled("predicted", chips(item.pred, kinds)));
    if (item.command) {
      const line = make("p", "command");
      line.append(make("code", "", item.command), copyButton(item.command));
      facts.append(line);
    }
    if (item.page) {
      const link = make("a", "", "Its explanation: heat maps and words");
      link.href = item.page;
      const line = make("p");
      line.append(link);
      facts.append(line);
    }
    content.replaceChildren(...(source ? [pictureWithHeat(item)] : []), facts);
    if (!item.proba) return;
    const table = probabilityTable(item), rest = make("div", "probabilities");
    rest.append(table);
    content.append(rest);
    tableTools(table, `Probabilities of ${item.id}`, `probabilities_${slug(item.id)}`);
  }
  const step = (by) => { if (rows[at + by]) show(at + by); };
  buttons.previous.addEventListener("click", () => step(-1));
  buttons.next.addEventListener("click", () => step(1));
  buttons.close.addEventListener("click", () => box.close());
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); }); // beside it
  box.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    step(by);
  });
  box.addEventListener("close", () => {
    const gallery = from.closest(".cards"), item = rows[at];
    (gallery.querySelector(`[data-open="${item.split}${item.row}"]`) || from).focus();
  });
  return {
    open(item, list, opened) {
      [rows, from] = [list, opened];
      show(list.indexOf(item));
      box.showModal();
      buttons.close.focus();
    },
  };
})();

// ---- lists of cards, extended by PAGE cards at a time
const words = (text) => text.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
// each word of the query starts a word of the caption, or stands in the id
function searcher(query) {
  const wanted = query.toLowerCase().split(/\s+/).filter(Boolean);
  return (item) => {
    const caption = words(item.caption || ""), id = item.id.toLowerCase();
    const starts = (one) => words(one).length > 0 && words(one).every((part) => caption.some((word) => word.startsWith(part)));
    return wanted.every((one) => id.includes(one) || starts(one));
  };
}
function csvRows(items) {
  const names = (labels) => (labels || []).map(labelName).join(" | ");
  const errors = (item) => item.wrong.map((cell) => `${labelName(cell.label)}: ${KINDS[cell.kind]} ${cell.p}`).join(" | ");
  const rows = items.map((item) => [item.id, item.caption, names(item.true), names(item.pred), errors(item), item.score]);
  return [["id", "caption", "given", "predicted", "labels in question", "score"], ...rows];
}
function extendable(name, items, draw, orders) {
  const form = find(`${name}-filters`), box = find(`${name}-cards`), more = find(`${name}-more`), count = find(`${name}-count`);
  if (!form) return;
  const total = data.totals[name], fields = [...form.elements].filter((field) => field.name), section = form.closest("section").id;
  let shown = [], drawn = 0, typing = false;
  const rows = () => shown;
  function grow() {
    box.append(...shown.slice(drawn, drawn + PAGE).map((item) => draw(item, rows)));
    drawn = Math.min(drawn + PAGE, shown.length);
    more.hidden = drawn >= shown.length;
  }
  function filter() {
    const wanted = Object.fromEntries(new FormData(form)), found = searcher(wanted.q);
    const fits = (cell) => (!wanted.label || cell.label === Number(wanted.label)) && (!wanted.kind || cell.kind === wanted.kind) && (!wanted.cause || cell.cause === wanted.cause);
    const isOf = (item) => item.wrong.some(fits) || (item.split === "test" && item.pred.includes(Number(wanted.label || -1)));
    shown = items.filter((item) => isOf(item) && found(item));
    const confidence = (item) => Math.max(...item.wrong.filter(fits).map((cell) => (cell.kind === "false_negative" ? 1 - cell.p : cell.p)));
    if (wanted.order === "confidence") shown = shown.map((item) => [confidence(item), item]).sort((a, b) => b[0] - a[0]).map(([, item]) => item);
    box.replaceChildren();
    drawn = 0;
    grow();
    const narrowed = wanted.label || wanted.kind || wanted.cause || wanted.q.trim();
    count.textContent = `${shown.length} of ${narrowed ? `${items.length} listed` : total} rows, ${orders[wanted.order || ""]}`;
  }
  // the address holds the name of a label, not its number
  const toText = (field) => (field.name === "label" && field.value ? labelName(Number(field.value)) : field.value);
  const isDefault = (field) => field.value === "" || (field.options && field.selectedIndex === 0);
  function save(replace) {
    const changes = fields.map((field) => [`${name}.${field.name}`, isDefault(field) ? "" : toText(field)]);
    address.set(Object.fromEntries(changes), section, replace);
  }
  function load() {
    for (const field of fields) {
      const text = address.get(`${name}.${field.name}`);
      field.value = field.name === "label" && text ? data.names.indexOf(text) : text;
      if (field.options && field.selectedIndex < 0) field.selectedIndex = 0; // none, or unknown
    }
    filter();
  }
  form.addEventListener("input", (event) => {
    if (event.target.type !== "search") return;
    filter();
    save(typing);
    typing = true;
  });
  form.addEventListener("change", (event) => {
    typing = false;
    if (event.target.type === "search") return;
    filter();
    save(false);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.append(csvButton(name.replaceAll("-", "_"), () => csvRows(shown), "the rows listed"));
  more.addEventListener("click", () => {
    const first = drawn;
    grow();
    box.children[first]?.querySelector("button")?.focus({ preventScroll: true }); // the button may be gone
  });
  address.onChange(load);
  load();
}
const WORST = { "": "worst first", score: "worst first", confidence: "most confident error first" };
extendable("mistake", data.mistakes || [], mistakeCard, WORST);
extendable("label-error", data.label_errors || [], labelErrorCard, { "": "least probable label first" });
extendable("test", data.test_rows || [], testCard, { "": "least sure first" });
if (find("duplicate-cards")) find("duplicate-cards").append(...data.duplicates.map(duplicateCard));

function mistakesOf(name) {
  const form = find("mistake-filters");
  form.elements.label.value = data.names.indexOf(name);
  form.elements.label.dispatchEvent(new Event("change", { bubbles: true }));
  address.goTo("mistake-rows", false);
}
for (const button of document.querySelectorAll("[data-mistakes-of]")) button.addEventListener("click", () => mistakesOf(button.dataset.mistakesOf));
address.start();
