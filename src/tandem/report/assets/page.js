// The page's data. All texts come from untrusted files: they are only set as textContent.
const data = JSON.parse(document.getElementById("payload").textContent);
const termNames = Object.fromEntries(data.terms.map(({ key, name }) => [key, name]));

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
const find = (id) => document.getElementById(id);
const labelName = (j) => data.names[j];

// ---- mark the section in view in the navigation
const links = new Map([...document.querySelectorAll("nav a[href]")].map((a) => [a.getAttribute("href").slice(1), a]));
const here = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) {
    for (const link of links.values()) link.classList.remove("here");
    const link = links.get(entry.target.id);
    link.classList.add("here");
    const bar = link.parentElement;
    bar.scrollLeft = link.offsetLeft - bar.clientWidth / 2;
  }
}, { rootMargin: "-15% 0px -80% 0px" });
for (const section of document.querySelectorAll("main > section")) here.observe(section);
