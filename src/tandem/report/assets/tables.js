// Every table: sorting by a click on a column head, a CSV file, and a hint where columns are out of sight.
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

// ---- CSV files
// a text that a spreadsheet would compute as a formula gets an apostrophe, a number such as -0.5 does not
function csvField(value) {
  let text = String(value ?? "");
  if (/^[=+\-@\t\r]/.test(text) && !Number.isFinite(Number(text))) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
const csvOf = (rows) => rows.map((row) => row.map(csvField).join(",") + "\r\n").join("");
function tableRows(table) {
  const clean = (cell) => cell.textContent.trim().replace(/\s+/g, " ");
  const heads = table.tHead ? [[...table.tHead.rows[0].cells].map(clean)] : [];
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => !row.classList.contains("detail"));
  return [...heads, ...rows.map((row) => [...row.cells].map((cell) => cell.dataset.v ?? clean(cell)))];
}
function csvButton(name, rows, about) {
  const button = make("button", "tool", "CSV");
  button.type = "button";
  button.setAttribute("aria-label", `Download as CSV: ${about}`);
  button.addEventListener("click", () => {
    const link = make("a"), url = URL.createObjectURL(new Blob([csvOf(rows())], { type: "text/csv;charset=utf-8" }));
    link.href = url;
    link.download = `${data.comp}_${name}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  });
  return button;
}

// ---- edges: a shadow and a text where a wide table goes on
const observedBoxes = new ResizeObserver((entries) => { for (const entry of entries) showEdges(entry.target); });
function showEdges(box) {
  const hidden = box.scrollWidth - box.clientWidth, left = box.scrollLeft;
  const wide = hidden > 1, frame = box.parentElement;
  frame.classList.toggle("more-left", wide && left > 1);
  frame.classList.toggle("more-right", wide && left < hidden - 1);
  frame.classList.toggle("wide-table", wide);
  if (wide) box.tabIndex = 0; else box.removeAttribute("tabindex");
}
function titleOf(element) {
  const headings = [...document.querySelectorAll("main h2, main h3, main h4")];
  const before = headings.filter((h) => h.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING);
  return before.length ? before[before.length - 1].textContent : document.title;
}
function slug(text) { return text.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_|_$/g, ""); }
// a wide box in a frame that shows its edges, which the keyboard can scroll
function framed(box, about) {
  const frame = make("div", "edges");
  box.before(frame);
  frame.append(box);
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", about);
  box.addEventListener("scroll", () => showEdges(box), { passive: true });
  observedBoxes.observe(box);
  return frame;
}
function tableTools(table, title, base) {
  let box = table.closest(".scroll");
  if (!box) { box = make("div", "scroll"); table.before(box); box.append(table); }
  const tools = make("div", "tools");
  framed(box, `Table: ${title}`).before(tools);
  tools.append(make("span", "hint", "more columns →"), csvButton(base, () => tableRows(table), title));
}
const tableNames = new Map();
function numbered(base) {
  const count = (tableNames.get(base) || 0) + 1;
  tableNames.set(base, count);
  return count > 1 ? ` ${count}` : "";
}
for (const table of document.querySelectorAll("main table")) {
  const title = titleOf(table), base = table.id ? table.id.replace(/-table$/, "") : title;
  tableTools(table, title + numbered(title), slug(base + numbered(base)));
}
for (const box of document.querySelectorAll("main .scroll:not(.edges > .scroll)")) { const title = titleOf(box); framed(box, `Chart: ${title}${numbered(title)}`); }
