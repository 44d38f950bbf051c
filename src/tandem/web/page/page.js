// The page: photos come in, are labelled and corrected one at a time or in a table, and are saved as CSV.
import { getJson, postForm, postJson } from "./shared/api.js";
import { Desk } from "./desk.js";
import { Detail } from "./detail.js";
import { $, count, element } from "./shared/dom.js";
import { chosen, dropped, sorted } from "./files.js";
import { labelPhotos, nextBatch, Photo } from "./photos.js";

const photos = [];
let about = null, desk = null, detail = null, running = false, unsaved = false;

const tell = (text) => {
  $("message").textContent = text;
  $("message").hidden = !text;
};
const labelled = () => photos.filter((photo) => photo.result);

// ---- the two views

function open(photo) {
  document.body.dataset.view = "one";
  const several = photos.length > 1;
  $("name").hidden = !several;
  $("steps").hidden = !several && !photo.isCorrected;
  $("back").textContent = several ? `All ${photos.length.toLocaleString("en")} photos` : "Table, to save";
  for (const [id, step] of [["previous", -1], ["next", 1]]) $(id).disabled = !desk.neighbour(photo, step);
  detail.open(photo);
  if (several) $("name").focus();
}

function openDesk() {
  const last = detail.photo;
  detail.close();
  document.body.dataset.view = "desk";
  $("steps").hidden = $("name").hidden = true;
  showProgress();
  if (last) {
    desk.update(last);
    desk.focus(last);
  }
}

function step(by) {
  const photo = desk.neighbour(detail.photo, by);
  if (photo) open(photo);
}

function changed(photo, byHand = false) {
  if (photos.length && (byHand || photos.length > 1)) unsaved = true;
  if (photos.length && photo.isCorrected && photo === detail.photo) $("steps").hidden = false; // from there it is saved
  desk.update(photo);
  showProgress();
}

// ---- photos that come in

async function add(files) {
  if (!about?.uses_images) return;
  tell("");
  const { photos: found, tables, others } = sorted(files);
  const known = new Set(photos.map(keyOf));
  const fresh = found.filter((one) => !known.has(keyOf(one)));
  const draft = detail.photo ? "" : $("caption").value; // typed before a photo was chosen
  const caption = fresh.length === 1 && !photos.length ? draft : "";
  const added = fresh.map(({ file, path }) => checked(new Photo(file, path, caption)));
  photos.push(...added);
  const notes = [];
  if (found.length > fresh.length) notes.push(`${count(found.length - fresh.length, "photo")} had been added before.`);
  if (others) notes.push(`${count(others, "file")} not shown: expected JPEG, PNG, WebP, BMP or GIF.`);
  if (draft && added.length > 1) notes.push(`The caption “${draft}” belongs to none of the photos for certain: type it in its row.`);
  tell(notes.join(" "));
  if (added.length) $("show").value = "all";
  desk.refresh();
  if (added.length === 1) open(added[0]);
  else if (added.length || (photos.length > 1 && tables.length)) openDesk();
  for (const table of tables) await readCaptions(table.file);
  run();
}

const keyOf = ({ file, path }) => `${path}\0${file.size}\0${file.lastModified}`;

function checked(photo) {
  if (photo.file.size > about.max_bytes) {
    const most = about.max_bytes.toLocaleString("en");
    Object.assign(photo, { state: "error", error: `${count(photo.file.size, "byte")}; expected at most ${most}` });
  }
  return photo;
}

async function readCaptions(file) {
  if (!photos.length || !about.uses_captions) {
    tell(photos.length ? "These models read no captions." : `${file.name}: add the photos first, then their captions.`);
    return;
  }
  const names = new Blob([JSON.stringify(photos.map((photo) => photo.path))], { type: "application/json" });
  try {
    const { captions } = await postForm("captions", [["table", file, file.name], ["names", names, "names.json"]]);
    const given = photos.filter((photo, i) => captions[i] && captions[i] !== photo.caption);
    for (const [i, photo] of photos.entries()) if (given.includes(photo)) photo.recaption(captions[i]);
    tell(`${file.name}: captions of ${captions.filter(Boolean).length.toLocaleString("en")} of ${count(photos.length, "photo")}.`);
    desk.refresh();
    if (detail.photo && given.includes(detail.photo)) open(detail.photo);
  } catch (error) {
    tell(`${file.name}: ${error.message}`);
  }
}

// ---- the queue

async function run() {
  if (running) return;
  running = true;
  showProgress();
  const start = performance.now(), before = labelled().length;
  try {
    for (let batch; running && (batch = nextBatch(photos, about.max_photos)).length;) {
      await labelPhotos(batch);
      unsaved = true;
      for (const photo of batch) desk.update(photo);
      const done = labelled().length - before, left = photos.filter((photo) => photo.state === "waiting").length;
      showProgress(done ? (left * (performance.now() - start)) / done / 1000 : 0);
    }
  } catch (error) {
    tell(`${error.message} Labelling has stopped; Continue goes on.`);
  }
  running = false;
  showProgress();
  if (!desk.isFocused) desk.refresh(desk.first);
}

function showProgress(seconds = 0) {
  const done = labelled().length, bad = photos.filter((photo) => photo.state === "error");
  const settled = done + bad.length, all = photos.length;
  $("progress").max = all || 1;
  $("progress").value = settled;
  const words = [`${done.toLocaleString("en")} of ${count(all, "photo")} labelled`];
  const corrected = photos.filter((photo) => photo.isCorrected).length;
  if (corrected) words.push(`${corrected.toLocaleString("en")} corrected`);
  if (running && seconds > 5) words.push(seconds < 90 ? `about ${Math.ceil(seconds)} s left` : `about ${Math.ceil(seconds / 60)} min left`);
  $("progress-text").textContent = words.join(", ");
  $("stop").hidden = settled === all;
  $("stop").textContent = running ? "Stop" : "Continue";
  $("save").disabled = !done;
  if (bad.length === Number($("problems").dataset.count ?? 0)) return;
  $("problems").dataset.count = bad.length;
  $("problems").hidden = !bad.length;
  $("problems").querySelector("summary").textContent = `${count(bad.length, "photo")} could not be labelled`;
  $("problems").querySelector("ul").replaceChildren(...bad.map((photo) => element("li", `${photo.path}: ${photo.error}`)));
}

// ---- saving

async function save() {
  const rows = labelled(), withProba = about.csv.values === "probabilities";
  try {
    const wanted = rows.map((photo) => ({
      id: photo.path, labels: photo.labels, ...(withProba ? { proba: photo.proba } : {}),
    }));
    const blob = await (await postJson("csv", { rows: wanted })).blob();
    const link = element("a"), url = URL.createObjectURL(blob);
    link.href = url;
    link.download = `${about.competition}_labels.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    unsaved = false;
    const left = photos.length - rows.length, formulas = rows.filter((photo) => isFormula(photo.name)).length;
    const notes = [`${link.download}: ${count(rows.length, "photo")}.`];
    if (left) notes.push(`Left out: ${count(left, "photo")} without labels.`);
    if (formulas) notes.push(`${count(formulas, "name")} that a spreadsheet would compute as a formula: import the columns there as text.`);
    tell(notes.join(" "));
  } catch (error) {
    tell(`Not saved: ${error.message}`);
  }
}

// the file keeps such names: a submission has the ids as they are
const isFormula = (text) => /^[=+\-@\t\r]/.test(text);

function clear() {
  if (unsaved && !confirm("Labels and corrections that are not saved will be lost. Remove all photos?")) return;
  running = unsaved = false;
  for (const photo of photos) if (photo.thumbnail) URL.revokeObjectURL(photo.thumbnail);
  photos.length = 0;
  tell("");
  detail.close();
  desk.refresh();
  showProgress();
  document.body.dataset.view = "one";
  $("photo").focus();
}

// ---- events

$("image").addEventListener("load", ({ target }) => {
  $("preview").style.setProperty("--aspect", target.naturalWidth / target.naturalHeight);
});
$("image").addEventListener("error", () => detail?.hidePicture());
for (const id of ["photo", "folder"]) {
  $(id).addEventListener("change", ({ target }) => {
    add(chosen(target.files));
    target.value = ""; // so that the same file can be chosen again
  });
}
const label = () => {
  if (detail?.photo) detail.label();
};
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  label();
});
$("caption").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    label();
  }
});
$("caption").addEventListener("input", () => {
  if (detail?.photo) $("submit").disabled = false;
});
$("more").addEventListener("click", () => {
  for (const item of $("rows").children) item.hidden = false;
  $("more").hidden = true;
});
$("back").addEventListener("click", openDesk);
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("stop").addEventListener("click", () => (running ? (running = false) : run()));
$("save").addEventListener("click", save);
$("clear").addEventListener("click", clear);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.body.dataset.view === "one" && !$("steps").hidden) openDesk();
});
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  add(await dropped(event.dataTransfer));
});
document.addEventListener("paste", (event) => {
  const files = event.clipboardData.files;
  if (!files.length) return; // text goes into the caption
  event.preventDefault();
  add(chosen(files));
});
addEventListener("busy", ({ detail }) => tell(detail));
addEventListener("beforeunload", (event) => {
  if (unsaved) event.preventDefault(); // the browser asks whether to leave
});

// ---- start

function adapt() {
  $("served").textContent = `${about.competition}: ${about.served}`;
  document.title = `Tandem: ${about.competition}`;
  $("why").textContent = about.why ?? "";
  $("why").hidden = !about.why;
  $("caption").maxLength = about.max_caption;
  $("names").replaceChildren(...about.labels.map((name) => Object.assign(element("option"), { value: name })));
  $("form-note").textContent = `As in the submission: ${about.csv.form}; ids: ${about.csv.ids}.`;
  if (!about.uses_images) {
    $("drop").hidden = $("more-photos").hidden = true;
    $("caption-title").textContent = "Text";
    $("caption").placeholder = "";
    $("status").textContent = "The labels are shown here. The text is not sent to any other machine.";
    detail.photo = new Photo(null, "");
    $("submit").disabled = false;
  } else if (!about.uses_captions) $("caption-title").hidden = $("caption").hidden = true;
  else if (!about.without_caption) $("caption-title").textContent = "Caption (required by these models)";
}

try {
  about = await getJson("about");
  detail = new Detail(about, changed);
  desk = new Desk(about, photos, {
    open,
    changed: (photo) => changed(photo, true),
    relabel: (photo) => {
      changed(photo, true);
      run();
    },
  });
  adapt();
} catch (error) {
  $("error").textContent = error.message;
  $("error").hidden = false;
}
