// Elements, and numbers as text; text is set as text, never as HTML.
export const $ = (id) => document.getElementById(id);

export function element(tag, text = "", ...classes) {
  const made = document.createElement(tag);
  made.textContent = text;
  made.classList.add(...classes);
  return made;
}

export function button(text, onClick, ...classes) {
  const made = element("button", text, ...classes);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

export const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
export const percent = (p) => (p < 0.0005 ? "<0.1 %" : p > 0.9995 ? ">99.9 %" : `${(100 * p).toFixed(1)} %`);
export const signed = (x) => (Math.abs(x) < 0.005 ? "0.00" : (x > 0 ? "+" : "−") + Math.abs(x).toFixed(2));
export const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
