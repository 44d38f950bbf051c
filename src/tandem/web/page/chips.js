// The labels of a photo as buttons that put them into its set or take them out, and a box to add one.
import { button, element } from "./shared/dom.js";

// fills a holder's list and the place of its box, and calls `changed()` after a correction
export function fillChips(holder, photo, names, changed) {
  const list = holder.querySelector("ul"), adding = holder.querySelector(".adding");
  const again = () => {
    fillChips(holder, photo, names, changed);
    changed();
  };
  const chips = photo.shown.map((label) => {
    const item = element("li"), chip = button(label, () => {
      photo.toggle(label);
      again();
      (find(list, label) ?? adding.firstChild).focus(); // the chip of an added label is gone
    }, "chip");
    chip.dataset.label = label;
    chip.setAttribute("aria-pressed", String(photo.has(label)));
    chip.title = photo.has(label) ? "in the set; click to take it out" : "taken out; click to put it back";
    if (photo.changes.has(label)) chip.classList.add("changed");
    item.append(chip);
    return item;
  });
  const none = photo.labels.length ? [] : [element("li", "no label", "none")];
  list.replaceChildren(...none, ...chips);
  adding.replaceChildren(addBox(photo, names, (label) => {
    if (!photo.has(label)) photo.toggle(label);
    again();
    adding.firstChild.focus();
  }));
}

const find = (list, label) => [...list.querySelectorAll(".chip")].find((chip) => chip.dataset.label === label);

function addBox(photo, names, add) {
  const box = element("input");
  box.setAttribute("list", "names");
  box.placeholder = "add a label";
  box.setAttribute("aria-label", photo.name ? `add a label to ${photo.name}` : "add a label");
  box.autocomplete = "off";
  const take = () => {
    const text = box.value.trim().toLowerCase();
    if (!text) return;
    const exact = names.find((name) => name.toLowerCase() === text);
    const begins = names.filter((name) => name.toLowerCase().startsWith(text));
    if (exact ?? begins.length === 1) add(exact ?? begins[0]);
    else {
      const near = begins.length ? begins : names;
      box.setCustomValidity(`“${box.value.trim()}” is not a label; expected ${near.slice(0, 8).join(", ")}${near.length > 8 ? ", …" : ""}`);
      box.reportValidity();
    }
  };
  box.addEventListener("input", (event) => {
    box.setCustomValidity("");
    const isChosen = !event.inputType || event.inputType === "insertReplacementText"; // from the list
    if (isChosen && names.includes(box.value)) take();
  });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // no form is sent
    take();
  });
  return box;
}
