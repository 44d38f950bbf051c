// One photo and its caption go to /label, and with a label to /why; all that comes back is shown as text, never as HTML.
const $ = (id) => document.getElementById(id);
const FIRST = 8; // labels before "all"
const WEAK = 0.5; // a change of the logit that is never shown as strong
const FAINT = 0.08; // of the largest effect: a word that is not worth a number
let about = null, photo = null, asked = 0, showing = null;

const element = (tag, text = "", ...classes) => {
  const made = document.createElement(tag);
  made.textContent = text;
  made.classList.add(...classes);
  return made;
};
const percent = (p) => (p < 0.0005 ? "<0.1 %" : p > 0.9995 ? ">99.9 %" : `${(100 * p).toFixed(1)} %`);
const signed = (x) => (Math.abs(x) < 0.005 ? "0.00" : (x > 0 ? "+" : "−") + Math.abs(x).toFixed(2));
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

async function answer(response) {
  const found = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(found.error);
  return found;
}

async function ask(question, fields = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("photo", photo, "photo");
  let response;
  try {
    response = await fetch(question, { method: "POST", body: form });
  } catch {
    throw new Error("no answer: is make serve still running?");
  }
  return answer(response);
}

function fail(message) {
  $("error").textContent = message;
  $("error").hidden = !message;
  if (message) $("found").hidden = true;
}

function busy(text) {
  $("results").setAttribute("aria-busy", text ? "true" : "false");
  $("status").textContent = text;
  $("status").hidden = !text;
}

function choose(file) {
  if (!file) return;
  photo = null;
  $("go").disabled = true;
  if (about && file.size > about.max_bytes) {
    fail(`${file.size.toLocaleString("en")} bytes; at most ${about.max_bytes.toLocaleString("en")} are read`);
    return;
  }
  photo = file;
  URL.revokeObjectURL($("image").src);
  $("image").src = URL.createObjectURL(file);
  $("preview").hidden = $("another").hidden = false;
  $("invite").hidden = true;
  $("drop").classList.add("filled");
  $("go").disabled = false;
  label();
}

async function label() {
  const mine = ++asked, caption = $("caption").value;
  fail("");
  dim();
  $("reading").hidden = true;
  busy("looking…");
  try {
    const found = await ask("label", { caption });
    if (mine !== asked) return;
    show(found, caption);
  } catch (error) {
    if (mine === asked) fail(error.message);
  } finally {
    if (mine === asked) busy("");
  }
}

function show(found, caption) {
  showing = { found, caption };
  const given = new Set(found.labels);
  const names = found.labels.length ? found.labels : ["no label"];
  $("labels").replaceChildren(...names.map((name) => element("li", name, ...(given.size ? [] : ["none"]))));
  let told = "";
  if (!caption.trim() && about.reads_captions) {
    told = `Without a caption: told by ${found.served} from the photo alone. `;
    const imagines = found.all.some((row) => Math.abs(row.terms.caption) > 1e-6);
    if (imagines) told += "What is read is then the caption that the network imagines. ";
  }
  $("how").textContent = told + (found.heat || found.words ? "Choose a label below to see why." : "");
  const used = about.terms.filter(({ term }) => found.all.some((row) => Math.abs(row.terms[term]) > 1e-6));
  $("legend").replaceChildren(...used.map(({ term, spoken }) => {
    const item = element("li");
    item.append(element("i", "", term), spoken);
    return item;
  }));
  const totals = found.all.map((row) => Object.values(row.terms));
  const low = Math.min(-0.01, ...totals.map((t) => sum(t.filter((x) => x < 0))));
  const high = Math.max(0.01, ...totals.map((t) => sum(t.filter((x) => x > 0))));
  $("rows").replaceChildren(...found.all.map((row, i) => {
    const item = element("li");
    item.append(line(row, used, low, high, given.has(row.label)));
    item.hidden = i >= FIRST && !given.has(row.label);
    return item;
  }));
  const hidden = $("rows").querySelectorAll("li[hidden]").length;
  $("more").textContent = `all ${found.all.length} labels`;
  $("more").hidden = !hidden;
  $("found").hidden = false;
  if (found.heat || found.words) why(found.labels[0] ?? found.all[0].label);
}

function line(row, used, low, high, given) {
  const button = element("button", "", ...(given ? ["given"] : []));
  button.type = "button";
  button.dataset.label = row.label;
  button.setAttribute("aria-pressed", "false");
  const bars = element("span", "", "bars"), probability = element("span", "", "bar", "probability");
  const filled = element("span");
  filled.style.width = `${100 * row.proba}%`;
  probability.append(filled);
  bars.append(probability, terms(row, used, low, high));
  const numbers = element("span", "", "numbers");
  for (const { term, spoken } of used) numbers.append(element("span", `${spoken} ${signed(row.terms[term])}`));
  numbers.append(element("b", `= ${signed(sum(Object.values(row.terms)))}`));
  button.append(element("bdi", row.label, "name"), element("span", percent(row.proba), "number"), bars, numbers);
  button.addEventListener("click", () => why(row.label));
  return button;
}

// terms end to end from zero: positive ones to the right, negative ones to the left
function terms(row, used, low, high) {
  const bar = element("span", "", "bar"), scale = 100 / (high - low), ends = { true: -low, false: -low };
  for (const { term, spoken } of used) {
    const value = row.terms[term], side = value > 0, start = ends[side], end = start + value;
    const part = element("span", "", term);
    part.title = `${spoken} ${signed(value)}`;
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

async function why(name) {
  const mine = asked, { found, caption } = showing;
  for (const button of $("rows").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.label === name));
  }
  if (!found.heat && !found.words) return;
  const current = () => mine === asked && $("rows").querySelector('[aria-pressed="true"]')?.dataset.label === name;
  busy(`why ${name}…`);
  try {
    const reasons = await ask("why", { caption, label: name });
    if (current()) reason(name, reasons);
  } catch (error) {
    if (current()) fail(error.message);
  } finally {
    if (current()) busy("");
  }
}

function dim() {
  $("heat").hidden = $("looking").hidden = true;
  $("heat").removeAttribute("src");
  $("preview").classList.remove("lit");
}

function reason(name, reasons) {
  dim();
  if (reasons.heat !== null) {
    $("looking").hidden = false;
    $("looking").textContent = reasons.heat
      ? `Bright: what speaks for ${name} most, in the eyes of ${reasons.by} (Grad-CAM).`
      : `Nothing on the photo speaks for ${name}.`;
    if (reasons.heat) {
      $("heat").src = reasons.heat;
      $("heat").hidden = false;
      $("preview").classList.add("lit");
    }
  }
  $("reading").hidden = !reasons.words;
  if (!reasons.words) return;
  $("label").textContent = name;
  const largest = Math.max(WEAK, ...reasons.words.map((word) => Math.abs(word.effect ?? 0)));
  $("words").replaceChildren(...reasons.words.flatMap(({ text, effect }) => {
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
  if (photo) label();
});
$("caption").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    if (photo) label();
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
  about = await answer(await fetch("about"));
  $("served").textContent = `${about.competition}: ${about.served}`;
  document.title = `Tandem: ${about.competition}`;
  $("caption").maxLength = about.max_caption;
  if (!about.reads_captions) $("asked").hidden = $("caption").hidden = true;
  else if (!about.without_caption) $("asked").textContent = "Caption (these models need one)";
} catch (error) {
  fail(error.message);
}
