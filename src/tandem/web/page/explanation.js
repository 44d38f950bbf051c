// The probabilities and terms of all labels of one photo; for one label the heat map and the words.
import { postForm } from "./shared/api.js";
import { $, element, percent, signed, sum } from "./shared/dom.js";

const FIRST = 8; // labels shown before "all"
const WEAK = 0.5; // change of a logit that is not shown in full colour
const FAINT = 0.08; // effect of a word, as a share of the largest, below which no number is shown
const TINY = 1e-6; // a term that is not shown

// "in the set with the highest expected F1 (0.74); next best: horse, dog (0.71)"
export function decisionText(decision) {
  if (!decision) return "";
  const value = (x) => (typeof x === "number" ? ` (${x.toFixed(2)})` : "");
  const next = decision.runner_up;
  const second = next ? `; next best: ${next.labels.join(", ") || "no label"}${value(next.expected)}` : "";
  return `Chosen: ${decision.by}${value(decision.expected)}${second}.`;
}

export function showRows(result, about, onChoose) {
  const used = about.terms.filter(({ key }) => result.all.some((row) => Math.abs(row.terms[key]) > TINY));
  $("legend").replaceChildren(...used.map(({ key, name }) => {
    const item = element("li");
    item.append(element("i", "", `t-${key}`), name);
    return item;
  }));
  const totals = result.all.map((row) => Object.values(row.terms));
  const low = Math.min(-0.01, ...totals.map((t) => sum(t.filter((x) => x < 0))));
  const high = Math.max(0.01, ...totals.map((t) => sum(t.filter((x) => x > 0))));
  const predicted = new Set(result.labels);
  $("rows").replaceChildren(...result.all.map((row, i) => {
    const item = element("li");
    item.append(line(row, used, low, high, predicted.has(row.label), onChoose));
    item.hidden = i >= FIRST && !predicted.has(row.label);
    return item;
  }));
  $("more").textContent = `all ${result.all.length} labels`;
  $("more").hidden = !$("rows").querySelector("li[hidden]");
}

function line(row, used, low, high, isPredicted, onChoose) {
  const made = element("button", "", ...(isPredicted ? ["predicted"] : []));
  made.type = "button";
  made.dataset.label = row.label;
  made.setAttribute("aria-pressed", "false");
  const bars = element("span", "", "bars"), probability = element("span", "", "bar", "probability");
  const filled = element("span");
  filled.style.width = `${100 * row.proba}%`;
  probability.append(filled);
  bars.append(probability, termBar(row, used, low, high));
  const numbers = element("span", "", "numbers");
  for (const { key, name } of used) numbers.append(element("span", `${name} ${signed(row.terms[key])}`));
  numbers.append(element("b", `= ${signed(sum(Object.values(row.terms)))}`));
  if (row.reason) numbers.append(element("span", row.reason));
  made.append(element("bdi", row.label, "name"), element("span", percent(row.proba), "number"), bars, numbers);
  made.addEventListener("click", () => onChoose(row.label));
  return made;
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

export const pressed = () => $("rows").querySelector('[aria-pressed="true"]')?.dataset.label;

export function press(name) {
  for (const row of $("rows").querySelectorAll("button")) row.setAttribute("aria-pressed", String(row.dataset.label === name));
}

export function askExplanation(photo, caption, label, heat) {
  const file = photo.file ? [["photo", photo.file, photo.name]] : [];
  return postForm("explain", [["caption", caption], ["label", label], ["heat", heat ? "yes" : "no"], ...file]);
}

export function clearExplanation() {
  $("heat").hidden = $("heat-note").hidden = $("word-effects").hidden = true;
  $("heat").removeAttribute("src");
  $("preview").classList.remove("with-heat");
}

export function showExplanation(name, explanation) {
  clearExplanation();
  if (explanation.heat !== null) {
    $("heat-note").hidden = false;
    $("heat-note").textContent = explanation.heat
      ? `Bright: regions that are evidence for ${name}, ${explanation.covered
        ? `whose logit falls where they are covered, by ${explanation.heat_model}`
        : `on the last feature map of ${explanation.heat_model}`}.`
      : `No region of the image is evidence for ${name}.`;
    if (explanation.heat) {
      $("heat").src = explanation.heat;
      $("heat").hidden = false;
      $("preview").classList.add("with-heat");
    }
  }
  if (explanation.words) showWords(name, explanation.words);
}

function showWords(name, words) {
  $("word-effects").hidden = false;
  $("label").textContent = name;
  const largest = Math.max(WEAK, ...words.map((word) => Math.abs(word.effect ?? 0)));
  $("words").replaceChildren(...words.flatMap(({ text, effect }) => {
    const word = element("span", text.trim()), share = Math.abs(effect ?? 0) / largest;
    if (share >= FAINT) {
      word.classList.add(effect > 0 ? "for" : "against");
      word.style.setProperty("--strength", `${20 + 80 * share}%`);
      word.append(element("small", signed(effect)));
    }
    return [word, " "];
  }));
}
