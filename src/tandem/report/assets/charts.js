"use strict";
// Small plots of one label, drawn when they come into view: finished SVG of 500 labels would be megabytes.

function svgElement(name, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (parent) parent.append(element);
  return element;
}

// options: width, height, x and y [low, high], line [[x, y]], dots [[x, y, radius, title]], mark, band [low, high],
// best [x, y], diagonal, xName, yName, about, ticks (false: the ends of y only)
function plot(options) {
  const { width = 260, height = 190, x, y } = options;
  const digits = y[1] - y[0] < 0.05 ? 4 : y[1] - y[0] < 0.5 ? 3 : 1;
  const left = (options.yName ? 34 : 22) + 6.5 * (digits + 1), bottom = options.xName ? 34 : 18, top = 8, right = 10;
  const px = (v) => left + ((v - x[0]) / (x[1] - x[0] || 1)) * (width - left - right);
  const py = (v) => height - bottom - ((v - y[0]) / (y[1] - y[0] || 1)) * (height - bottom - top);
  const svg = svgElement("svg", { class: "chart plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": options.about || "" });
  svg.style.maxWidth = `${width * 1.5}px`;
  const text = (content, attributes) => { svgElement("text", attributes, svg).textContent = content; };
  for (const v of options.ticks === false ? y : [y[0], (y[0] + y[1]) / 2, y[1]]) {
    svgElement("line", { class: "axis", x1: left, x2: width - right, y1: py(v), y2: py(v) }, svg);
    text(v.toFixed(digits), { x: left - 5, y: py(v) + 4, "text-anchor": "end" });
  }
  for (const v of [x[0], (x[0] + x[1]) / 2, x[1]])
    text(String(v), { x: px(v), y: height - bottom + 14, "text-anchor": v === x[0] ? "start" : v === x[1] ? "end" : "middle" });
  if (options.xName) text(options.xName, { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" });
  if (options.yName) text(options.yName, { x: 0, y: 0, "text-anchor": "middle", transform: `translate(10 ${(height - bottom + top) / 2}) rotate(-90)` });
  const clamp = (v) => Math.min(x[1], Math.max(x[0], v));
  if (options.band) {
    const [a, b] = options.band.map(clamp);
    svgElement("rect", { class: "band", x: px(a), width: Math.max(px(b) - px(a), 0), y: top, height: height - bottom - top }, svg);
  }
  if (options.diagonal) svgElement("line", { class: "diagonal", x1: px(x[0]), y1: py(y[0]), x2: px(x[1]), y2: py(y[1]) }, svg);
  if (options.mark !== null && options.mark !== undefined) {
    const at = px(clamp(options.mark));
    svgElement("line", { class: "mark", x1: at, x2: at, y1: top, y2: height - bottom }, svg);
  }
  if (options.line) svgElement("polyline", { class: "line", points: options.line.map(([a, b]) => `${px(a).toFixed(1)},${py(b).toFixed(1)}`).join(" ") }, svg);
  for (const [a, b, radius, title] of options.dots || []) {
    const dot = svgElement("circle", { class: "dot", cx: px(a), cy: py(b), r: radius }, svg);
    svgElement("title", {}, dot).textContent = title;
  }
  if (options.best) svgElement("circle", { class: "best", cx: px(options.best[0]), cy: py(options.best[1]), r: 4 }, svg);
  return svg;
}

function bestPoint(grid, values, greaterIsBetter = true) {
  const best = values.indexOf(Math[greaterIsBetter ? "max" : "min"](...values));
  return [grid[best], values[best]];
}

// calls make(element) for each element when it first comes into view
function whenVisible(elements, make) {
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { observer.unobserve(entry.target); make(entry.target); }
  }, { rootMargin: "300px" });
  for (const element of elements) observer.observe(element);
}
