// Elements, times and numbers. Text from elsewhere only ever becomes text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// What was unfolded before stays so when it is drawn anew.
function unfold(before, made) {
  const now = made.querySelectorAll("details");
  before.querySelectorAll("details").forEach((one, at) => { if (one.open && now[at]) now[at].open = true; });
}

// Shows a list again: what has not changed stays as it is (focus, selection), what has is drawn anew.
export function keyed(container, items, keyOf, draw, empty = "") {
  const known = container.known ?? new Map();
  const next = new Map();
  for (const item of items) {
    const key = keyOf(item), print = JSON.stringify(item), before = known.get(key);
    if (before?.print === print) { next.set(key, before); continue; }
    const made = draw(item);
    if (before) { made.classList.add("changed"); unfold(before.made, made); }
    next.set(key, { print, made });
  }
  container.known = next;
  const wanted = next.size ? [...next.values()].map((one) => one.made) : [el("p", { class: "empty" }, empty)];
  const same = wanted.length === container.children.length && wanted.every((one, at) => one === container.children[at]);
  if (!same && (next.size || empty || container.children.length)) container.replaceChildren(...(next.size || empty ? wanted : []));
}

const AGO = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

export function span(seconds) {
  const [unit, word] = AGO.find(([unit]) => seconds >= unit) ?? [1, "s"];
  return `${Math.floor(seconds / unit)} ${word}`;
}

function told(at) {
  const seconds = (Date.now() - Date.parse(at)) / 1000;
  if (seconds < -60) return `in ${span(-seconds)}`;
  return seconds < 1 ? "now" : `${span(seconds)} ago`;
}

const lasting = (at) => span(Math.max(1, (Date.now() - Date.parse(at)) / 1000));

export function ago(at) {
  if (!at) return el("time", {}, "");
  return el("time", { datetime: at, title: new Date(at).toLocaleString() }, told(at));
}

// Keeps what says "3 s ago" true without asking anybody.
export function age() {
  for (const one of document.querySelectorAll("time[datetime]")) {
    const text = (one.hasAttribute("data-for") ? lasting : told)(one.getAttribute("datetime"));
    if (one.textContent !== text) one.textContent = text;
  }
}

// How long something has been so.
export function since(at) {
  return at ? el("time", { datetime: at, "data-for": "", title: new Date(at).toLocaleString() }, lasting(at)) : "";
}

export function bytes(count) {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (count < 1024) return `${unit === "B" ? count : count.toFixed(1)} ${unit}`;
    count /= 1024;
  }
  return `${count.toFixed(1)} GiB`;
}

export const words = (name) => String(name).replaceAll("_", " ");

export function shown(value) {
  if (value === true) return "yes";
  if (value === false) return "no";
  return value !== null && typeof value === "object" ? JSON.stringify(value) : String(value ?? "");
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

export function chip(text, kind = "") {
  return el("span", { class: `chip ${kind}` }, words(text));
}
