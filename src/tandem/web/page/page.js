// Sends an image and its caption to /label, and with a label to /explain; results are set as text, never as HTML.
const $ = (id) => document.getElementById(id);
const FIRST = 8; // labels shown before "all"
const WEAK = 0.5; // change of a logit that is not shown in full colour
const FAINT = 0.08; // effect of a word, as a share of the largest, below which no number is shown
let about = null, photo = null, requests = 0, current = null; // current: the result that is shown, and its caption

const element = (tag, text = "", ...classes) => {
  const made = document.createElement(tag);
  made.textContent = text;
  made.classList.add(...classes);
  return made;
};
const percent = (p) => (p < 0.0005 ? "<0.1 %" : p > 0.9995 ? ">99.9 %" : `${(100 * p).toFixed(1)} %`);
const signed = (x) => (Math.abs(x) < 0.005 ? "0.00" : (x > 0 ? "+" : "−") + Math.abs(x).toFixed(2));
const ready = () => photo || about?.uses_images === false;
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

async function parse(response) {
  const body = await response.json().catch(() => ({ error: `the server returned status ${response.status}` }));
  if (!response.ok) throw new Error(body.error);
  return body;
}

async function post(path, fields = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  if (photo) form.append("photo", photo, "photo");
  let response;
  try {
    response = await fetch(path, { method: "POST", body: form });
  } catch {
    throw new Error("no response: is make serve still running?");
  }
  return parse(response);
}

function fail(message) {
  $("error").textContent = message;
  $("error").hidden = !message;
  if (message) $("output").hidden = true;
}

function busy(text) {
  $("results").setAttribute("aria-busy", text ? "true" : "false");
  $("status").textContent = text;
  $("status").hidden = !text;
}

function choose(file) {
  if (!file || about?.uses_images === false) return;
  photo = null;
  $("submit").disabled = true;
  if (about && file.size > about.max_bytes) {
    fail(`${file.size.toLocaleString("en")} bytes; expected at most ${about.max_bytes.toLocaleString("en")}`);
    return;
  }
  photo = file;
  URL.revokeObjectURL($("image").src);
  $("image").src = URL.createObjectURL(file);
  $("preview").hidden = $("another").hidden = false;
  $("invite").hidden = true;
  $("drop").classList.add("filled");
  $("submit").disabled = false;
  label();
}

async function label() {
  const request = ++requests, caption = $("caption").value;
  fail("");
  clearHeat();
  $("word-effects").hidden = true;
  busy("computing labels…");
  try {
    const result = await post("label", { caption });
    if (request !== requests) return;
    show(result, caption);
  } catch (error) {
    if (request === requests) fail(error.message);
  } finally {
    if (request === requests) busy("");
  }
}

function show(result, caption) {
  current = { result, caption };
  const predicted = new Set(result.labels);
  const names = result.labels.length ? result.labels : ["no label"];
  $("labels").replaceChildren(...names.map((name) => element("li", name, ...(predicted.size ? [] : ["none"]))));
  let hint = "";
  if (!caption.trim() && about.uses_captions) {
    hint = `No caption: predicted by ${result.served} from the image only. `;
    const estimated = result.all.some((row) => Math.abs(row.terms.caption) > 1e-6);
    if (estimated) hint += "The caption term is then predicted from image features. ";
  }
  $("hint").textContent = hint + (result.heat || result.words ? "Choose a label below for its explanation." : "");
  const used = about.terms.filter(({ key }) => result.all.some((row) => Math.abs(row.terms[key]) > 1e-6));
  $("legend").replaceChildren(...used.map(({ key, name }) => {
    const item = element("li");
    item.append(element("i", "", `t-${key}`), name);
    return item;
  }));
  const totals = result.all.map((row) => Object.values(row.terms));
  const low = Math.min(-0.01, ...totals.map((t) => sum(t.filter((x) => x < 0))));
  const high = Math.max(0.01, ...totals.map((t) => sum(t.filter((x) => x > 0))));
  $("rows").replaceChildren(...result.all.map((row, i) => {
    const item = element("li");
    item.append(line(row, used, low, high, predicted.has(row.label)));
    item.hidden = i >= FIRST && !predicted.has(row.label);
    return item;
  }));
  const hidden = $("rows").querySelectorAll("li[hidden]").length;
  $("more").textContent = `all ${result.all.length} labels`;
  $("more").hidden = !hidden;
  $("output").hidden = false;
  if (result.heat || result.words) explain(result.labels[0] ?? result.all[0].label);
}

function line(row, used, low, high, isPredicted) {
  const button = element("button", "", ...(isPredicted ? ["predicted"] : []));
  button.type = "button";
  button.dataset.label = row.label;
  button.setAttribute("aria-pressed", "false");
  const bars = element("span", "", "bars"), probability = element("span", "", "bar", "probability");
  const filled = element("span");
  filled.style.width = `${100 * row.proba}%`;
  probability.append(filled);
  bars.append(probability, termBar(row, used, low, high));
  const numbers = element("span", "", "numbers");
  for (const { key, name } of used) numbers.append(element("span", `${name} ${signed(row.terms[key])}`));
  numbers.append(element("b", `= ${signed(sum(Object.values(row.terms)))}`));
  button.append(element("bdi", row.label, "name"), element("span", percent(row.proba), "number"), bars, numbers);
  button.addEventListener("click", () => explain(row.label));
  return button;
}

// terms end to end from zero: positive ones to the right, negative ones to the left
function termBar(row, used, low, high) {
  const bar = element("span", "", "bar"), scale = 100 / (high - low), ends = { true: -low, false: -low };
  for (const { key, name } of used) {
    const value = row.terms[key], side = value > 0, start = ends[side], end = start + value;
    const part = element("span", "", `t-${key}`);
    part.title = `${name} ${signed(value)}`;
    part.style.left = `${Math.min(start, end) * scale}%`;
    part.style.width = `${Math.abs(value) * scale}%`;
    ends[side] = end;
    bar.append(part);
  }
  const zero = element("span", "", "zero");
  zero.style.left = `${-low * scale}%`;
  bar.append(zero);
  return bar;
}

async function explain(name) {
  const request = requests, { result, caption } = current;
  for (const button of $("rows").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.label === name));
  }
  if (!result.heat && !result.words) return;
  const upToDate = () => request === requests && $("rows").querySelector('[aria-pressed="true"]')?.dataset.label === name;
  busy(`explaining ${name}…`);
  try {
    const explanation = await post("explain", { caption, label: name });
    if (upToDate()) showExplanation(name, explanation);
  } catch (error) {
    if (upToDate()) fail(error.message);
  } finally {
    if (upToDate()) busy("");
  }
}

function clearHeat() {
  $("heat").hidden = $("heat-note").hidden = true;
  $("heat").removeAttribute("src");
  $("preview").classList.remove("with-heat");
}

function showExplanation(name, explanation) {
  clearHeat();
  if (explanation.heat !== null) {
    $("heat-note").hidden = false;
    $("heat-note").textContent = explanation.heat
      ? `Bright: regions that are evidence for ${name}, on the last feature map of ${explanation.heat_model}.`
      : `No region of the image is evidence for ${name}.`;
    if (explanation.heat) {
      $("heat").src = explanation.heat;
      $("heat").hidden = false;
      $("preview").classList.add("with-heat");
    }
  }
  $("word-effects").hidden = !explanation.words;
  if (!explanation.words) return;
  $("label").textContent = name;
  const largest = Math.max(WEAK, ...explanation.words.map((word) => Math.abs(word.effect ?? 0)));
  $("words").replaceChildren(...explanation.words.flatMap(({ text, effect }) => {
    const word = element("span", text.trim()), share = Math.abs(effect ?? 0) / largest;
    if (share >= FAINT) {
      word.classList.add(effect > 0 ? "for" : "against");
      word.style.setProperty("--strength", `${20 + 80 * share}%`);
      word.append(element("small", signed(effect)));
    }
    return [word, " "];
  }));
}

$("image").addEventListener("load", ({ target }) => {
  $("preview").style.setProperty("--aspect", target.naturalWidth / target.naturalHeight);
});
$("photo").addEventListener("change", (event) => {
  choose(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (ready()) label();
});
$("caption").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    if (ready()) label();
  }
});
$("more").addEventListener("click", () => {
  for (const item of $("rows").children) item.hidden = false;
  $("more").hidden = true;
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
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  choose(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = event.clipboardData.files[0];
  if (!file) return; // text goes into the caption
  event.preventDefault();
  choose(file);
});

try {
  about = await parse(await fetch("about"));
  $("served").textContent = `${about.competition}: ${about.served}`;
  document.title = `Tandem: ${about.competition}`;
  $("caption").maxLength = about.max_caption;
  if (!about.uses_images) {
    $("drop").hidden = true;
    $("submit").disabled = false;
    $("caption-title").textContent = "Text";
    $("caption").placeholder = "";
    $("status").textContent = "The labels are shown here. The text is not sent to any other machine.";
  } else if (!about.uses_captions) $("caption-title").hidden = $("caption").hidden = true;
  else if (!about.without_caption) $("caption-title").textContent = "Caption (required by these models)";
} catch (error) {
  fail(error.message);
}
