// The table of all photos: a page of rows at a time, with filters, an order, and pages.
import { fillChips } from "./chips.js";
import { $, button, count, element } from "./shared/dom.js";
import { makeThumbnails } from "./thumbnails.js";

const PAGE = 50; // rows
const FILTERS = {
  all: () => true,
  corrected: (photo) => photo.isCorrected,
  errors: (photo) => photo.state === "error",
  waiting: (photo) => photo.state === "waiting" || photo.state === "busy",
  training: (photo) => Boolean(photo.result?.training),
};

export class Desk {
  // on: {open(photo), changed(photo), relabel(photo)}
  constructor(about, photos, on) {
    Object.assign(this, { about, photos, on, view: [], first: 0, rows: new Map() });
    const labels = about.labels.map((name) => {
      const option = element("option", name);
      option.value = `label:${name}`;
      return option;
    });
    $("show-labels").append(...labels);
    for (const id of ["show", "order"]) $(id).addEventListener("change", () => this.refresh());
    $("find").addEventListener("input", () => this.refresh());
    for (const [id, step] of [["previous-page", -PAGE], ["next-page", PAGE]]) {
      $(id).addEventListener("click", () => this.turn(this.first + step));
    }
  }

  get isFocused() {
    return $("table").contains(document.activeElement);
  }

  // chooses and sorts the photos anew; a row that a correction moves stays until then
  refresh(first = 0) {
    const show = $("show").value, words = $("find").value.trim().toLowerCase();
    const isShown = show.startsWith("label:") ? (photo) => photo.has(show.slice(6)) : FILTERS[show];
    const isFound = (photo) => !words || photo.path.toLowerCase().includes(words) || photo.caption.toLowerCase().includes(words);
    this.view = this.photos.filter((photo) => isShown(photo) && isFound(photo));
    if ($("order").value === "sure") {
      const sureness = new Map(this.view.map((photo) => [photo, photo.sureness]));
      const rank = (photo) => (Number.isNaN(sureness.get(photo)) ? 2 : sureness.get(photo)); // unlabelled ones last
      this.view.sort((a, b) => rank(a) - rank(b));
    }
    this.turn(first);
  }

  turn(first) {
    const last = Math.max(0, PAGE * Math.floor((this.view.length - 1) / PAGE));
    this.first = Math.min(Math.max(0, first), last);
    const shown = this.view.slice(this.first, this.first + PAGE);
    this.rows = new Map(shown.map((photo) => [photo, this.makeRow(photo)]));
    $("table").tBodies[0].replaceChildren(...this.rows.values());
    for (const photo of shown) this.update(photo);
    const end = this.first + shown.length, all = this.view.length === this.photos.length;
    $("page-text").textContent = shown.length
      ? `${(this.first + 1).toLocaleString("en")} to ${end.toLocaleString("en")} of ${count(this.view.length, "photo")}${all ? "" : " shown"}`
      : "no photo is shown by this filter";
    $("previous-page").disabled = !this.first;
    $("next-page").disabled = end >= this.view.length;
    makeThumbnails(shown, (photo) => this.showThumbnail(photo));
  }

  makeRow(photo) {
    const row = element("tr");
    row.setAttribute("role", "row");
    const cell = (kind) => {
      const made = element("td", "", kind);
      made.setAttribute("role", "cell");
      row.append(made);
      return made;
    };
    cell("thumbnail").append(element("span", "", "blank"));
    const about = cell("about");
    about.append(button(photo.path, () => this.on.open(photo), "open", "link"));
    if (this.about.uses_captions) about.append(this.captionBox(photo));
    about.append(element("span", "", "note"));
    const chips = element("div", "", "chips");
    chips.append(element("ul"), element("span", "", "adding"));
    cell("set").append(element("p", "", "state"), chips);
    cell("sure");
    row.addEventListener("click", ({ target }) => {
      if (!target.closest("button, input")) this.on.open(photo);
    });
    return row;
  }

  captionBox(photo) {
    const box = element("input", "", "caption-box");
    box.value = photo.caption;
    box.maxLength = this.about.max_caption;
    box.dir = "auto";
    box.placeholder = "caption";
    box.setAttribute("aria-label", `caption of ${photo.name}`);
    box.addEventListener("change", () => {
      if (box.value === photo.caption) return;
      photo.recaption(box.value);
      this.on.relabel(photo);
    });
    return box;
  }

  // the cells that labelling and corrections change; the caption is left to who types it
  update(photo) {
    const row = this.rows.get(photo);
    if (!row) return;
    const text = { waiting: "waiting", busy: "computing…", error: photo.error, done: "" }[photo.state];
    const state = row.querySelector(".state"), chips = row.querySelector(".chips");
    state.textContent = text;
    state.hidden = !text;
    state.classList.toggle("bad", photo.state === "error");
    chips.hidden = !photo.result;
    if (photo.result && !chips.contains(document.activeElement)) {
      fillChips(chips, photo, this.about.labels, () => this.on.changed(photo));
    }
    row.classList.toggle("corrected", photo.isCorrected);
    const notes = [photo.isCorrected ? "corrected" : "", photo.result?.training ? "a training photo" : ""];
    row.querySelector(".note").textContent = notes.filter(Boolean).join(" · ");
    row.querySelector(".note").title = photo.result?.training?.note ?? "";
    row.querySelector(".sure").textContent = photo.result ? photo.sureness.toFixed(2) : "";
  }

  showThumbnail(photo) {
    const cell = this.rows.get(photo)?.querySelector(".thumbnail");
    if (!cell) return;
    if (!photo.thumbnail) {
      cell.replaceChildren(element("span", "no picture", "blank", "note"));
      return;
    }
    const image = element("img");
    image.alt = ""; // the name is beside it
    image.src = photo.thumbnail;
    cell.replaceChildren(image);
  }

  focus(photo) {
    if (!this.rows.has(photo) && this.view.includes(photo)) this.turn(PAGE * Math.floor(this.view.indexOf(photo) / PAGE));
    (this.rows.get(photo)?.querySelector(".open") ?? $("desk-title")).focus();
  }

  // the photo before (-1) or after (1) in the order of the table
  neighbour(photo, step) {
    const at = this.view.indexOf(photo);
    return at < 0 ? undefined : this.view[at + step];
  }
}
