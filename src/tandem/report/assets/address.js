// Filters stand in the fragment of the address, #section?name=value&...: a reload and the back button bring them back,
// and links to other sections keep them.
const address = (() => {
  const listeners = [];
  function parts() {
    const [section, ...query] = location.hash.slice(1).split("?");
    return { section, values: new URLSearchParams(query.join("?")) };
  }
  function write(section, values, replace = false) {
    const query = values.toString();
    history[replace ? "replaceState" : "pushState"](null, "", `#${section}${query ? `?${query}` : ""}`);
  }
  return {
    get: (name) => parts().values.get(name) || "",
    // changes: {name: value}, "" removes it; replace: the back button skips what the address was before
    set(changes, section = parts().section, replace = false) {
      const { values } = parts();
      for (const [name, value] of Object.entries(changes)) value ? values.set(name, value) : values.delete(name);
      write(section, values, replace);
    },
    onChange(listener) { listeners.push(listener); },
    // scrolls to an element and moves the focus to its heading, so that the keyboard goes on from there
    goTo(id, push = true) {
      const target = document.getElementById(id);
      if (!target) return;
      if (push) write(id, parts().values);
      const heading = target.matches("h1, h2, h3") ? target : target.querySelector("h1, h2, h3") || target;
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
      target.scrollIntoView({ block: "start" });
    },
    changed() { for (const listener of listeners) listener(); },
    start() { if (parts().values.size) this.goTo(parts().section, false); },
  };
})();
window.addEventListener("popstate", () => address.changed());
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  address.goTo(link.getAttribute("href").slice(1));
});
