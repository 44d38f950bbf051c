// Shows one question at a time; every answer is written by the server before the next question is shown.
import { getJson, postJson } from "./shared/api.js";
import { $, button, count, element, percent } from "./shared/dom.js";

const state = { about: null, queue: [], skipped: [], history: [], question: null, edited: null, busy: true };
const WORDS = { 1: "yes", 0: "no", unknown: "unknown" };

const send = async (path, content) => (await postJson(path, content)).json();
const word = (value) => WORDS[value ?? "unknown"];
const asked = () => state.question.labels.find((one) => one.name === state.question.label);

function showProgress(progress) {
  const { questions } = state.about;
  const answered = questions - progress.open.length;
  $("bar").firstElementChild.style.width = `${questions ? (100 * answered) / questions : 100}%`;
  const skipped = state.skipped.length ? `, ${state.skipped.length} skipped` : "";
  $("progress").textContent =
    `${answered.toLocaleString("en")} of ${count(questions, "label")} answered${skipped}; ` +
    `${count(progress.labels, "label")} of ${count(progress.rows, "row")} corrected`;
  state.queue = progress.open.filter((number) => !state.skipped.includes(number));
  $("undo").disabled = !state.history.length;
}

function showLabels() {
  const rows = state.question.labels.map(({ name, given, proba }) => {
    const row = element("tr");
    if (name === state.question.label) row.className = "asked";
    const head = element("th", name);
    head.scope = "row";
    head.dir = "auto";
    const value = state.edited?.has(name) ? state.edited.get(name) : given;
    const is = element("td", "", `is-${value ?? "unknown"}`);
    if (state.edited) {
      if (value !== given) row.classList.add("changed");
      const toggle = button(word(value), () => {
        state.edited.set(name, value === 1 ? 0 : 1);
        const at = [...$("labels").querySelectorAll("button")].indexOf(toggle);
        showLabels();
        $("labels").querySelectorAll("button")[at].focus();
      });
      toggle.setAttribute("aria-label", `${name}: ${word(value)}`);
      is.append(toggle);
    } else {
      is.textContent = word(value);
    }
    const meter = element("td", "", "meter");
    const track = element("div");
    const fill = element("span");
    fill.style.width = `${100 * proba}%`;
    track.append(fill);
    meter.append(track);
    row.append(head, is, element("td", percent(proba), "number"), meter);
    return row;
  });
  $("labels").replaceChildren(...rows);
}

function showEditing(on) {
  state.edited = on ? new Map(state.question.labels.filter((one) => one.given !== null).map((one) => [one.name, one.given])) : null;
  $("answers").hidden = on;
  $("editing").hidden = $("hint").hidden = !on;
  showLabels();
  if (on) $("labels").querySelector(".asked button").focus();
}

function showQuestion(found) {
  state.question = found;
  const { label } = found;
  const { given, proba } = asked();
  const there = given === 1;
  $("ask").textContent = there ? `Is “${label}” right?` : `Is it right that “${label}” is missing?`;
  $("why").textContent = `“${label}” is ${there ? "given" : "not given"}; ${state.about.served} gives it ${percent(proba)}.`;
  $("suspected").textContent = `Suspected by: ${found.suspected_by}`;
  $("yes").lastElementChild.textContent = there ? `right: ${label} stays` : `right: no ${label}`;
  $("no").lastElementChild.textContent = there ? `wrong: remove ${label}` : `wrong: add ${label}`;
  $("photo").hidden = !found.photo;
  if (found.photo) {
    $("photo").src = `photo/${found.number}`;
    $("photo").alt = found.caption ? `the image of ${found.id}: ${found.caption}` : `the image of ${found.id}`;
  }
  $("question").className = found.photo ? "" : "text";
  $("caption").hidden = found.caption === null;
  $("caption").textContent = found.caption?.trim() || "(no caption)";
  $("id").textContent = found.id;
  $("question").hidden = false;
  $("done").hidden = true;
  showEditing(false);
  $("ask").focus({ preventScroll: true });
}

async function next(number = state.queue[0]) {
  $("error").hidden = true;
  if (number !== undefined) {
    showQuestion(await getJson(`question/${number}`));
    const after = state.queue.find((other) => other > number);
    if (after !== undefined && state.question.photo) new Image().src = `photo/${after}`;
    return;
  }
  state.question = null;
  $("question").hidden = true;
  $("done").hidden = false;
  $("again").hidden = !state.skipped.length;
  const { questions } = state.about;
  $("end").textContent = state.skipped.length
    ? `${count(state.skipped.length, "label")} skipped, all others are answered`
    : questions ? "All labels are answered" : "There is nothing to look at: no suspects, no mistakes";
  $("end").focus({ preventScroll: true });
}

async function answer(labels) {
  const { number } = state.question;
  const progress = await send("answer", { number, labels });
  state.history.push("answer");
  showProgress(progress);
  await next(state.queue.find((other) => other > number) ?? state.queue[0]);
}

const actions = {
  yes: async () => (asked().given === null ? showEditing(true) : answer({ [state.question.label]: asked().given })),
  no: async () => {
    const { label } = state.question;
    try {
      await answer({ [label]: asked().given === 1 ? 0 : 1 });
    } catch (error) {
      if (!state.question || state.question.label !== label) throw error;
      showEditing(true);  // such as a row that would have no label
      state.edited.set(label, asked().given === 1 ? 0 : 1);
      showLabels();
      throw error;
    }
  },
  skip: async () => {
    const { number } = state.question;
    state.skipped.push(number);
    state.history.push(number);
    showProgress(await getJson("about"));
    await next(state.queue.find((other) => other > number) ?? state.queue[0]);
  },
  edit: async () => showEditing(true),
  cancel: async () => { showEditing(false); $("error").hidden = true; $("edit").focus(); },
  save: async () => answer(Object.fromEntries(state.edited)),
  again: async () => {
    state.skipped = [];
    state.history = state.history.filter((one) => one === "answer");
    showProgress(await getJson("about"));
    await next();
  },
  undo: async () => {
    const last = state.history.pop();
    if (last === undefined) return;
    let number = last;
    if (last === "answer") ({ number } = await send("undo", {}));
    else state.skipped = state.skipped.filter((other) => other !== last);
    showProgress(await getJson("about"));
    await next(number ?? undefined);
  },
};

function busy(on) {
  state.busy = on;
  document.querySelector("main").setAttribute("aria-busy", on);
}

async function act(name) {
  // a key that is pressed before the next question is there would answer what nobody has seen
  if (state.busy || $(name).disabled || $(name).closest("[hidden]")) return;
  busy(true);
  try {
    $("error").hidden = true;
    await actions[name]();
  } catch (error) {
    $("error").textContent = error.message;
    $("error").hidden = false;
  } finally {
    busy(false);
  }
}

$("photo").addEventListener("error", () => { $("photo").hidden = true; });  // its file is gone since the check
const KEYS = { y: "yes", n: "no", s: "skip", e: "edit", u: "undo", escape: "cancel" };
for (const name of Object.keys(actions)) $(name).addEventListener("click", () => act(name));
document.addEventListener("keydown", (event) => {
  const name = KEYS[event.key.toLowerCase()];
  if (!name || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (name !== "cancel" && !$("keys").checked) return;
  event.preventDefault();
  act(name);
});

try {
  state.about = await getJson("about");
  const { competition, served, file } = state.about;
  document.title = `Review of labels: ${competition}`;
  $("about").textContent = `${competition}: suspects and worst mistakes of ${served}`;
  $("file").textContent = file;
  $("next").replaceChildren(...state.about.next.map((step) => element("li", step)));
  state.history = Array(state.about.undo).fill("answer");  // of before the page was loaded again
  showProgress(state.about);
  await next();
  busy(false);
} catch (error) {
  $("error").textContent = error.message;
  $("error").hidden = false;
}
