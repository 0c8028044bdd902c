// Small charts: a line over the last day, a step line for switches and valves.

import { el, svg, words } from "./dom.js";

const STEPS = new Set(["switch_state", "valve_state"]);
const WIDTH = 240, HEIGHT = 48, DAY = 86400;

function path(points, metric, now) {
  const values = points.map(([, value]) => value);
  let low = Math.min(...values), high = Math.max(...values);
  if (STEPS.has(metric)) [low, high] = [0, 1];
  const from = points[0][0], until = Math.max(now, from + 1), range = high - low || 1;
  const x = (at) => ((at - from) / (until - from)) * WIDTH;
  const y = (value) => (high === low ? HEIGHT / 2 : HEIGHT - 3 - ((value - low) / range) * (HEIGHT - 6));
  let line = `M${x(from).toFixed(1)} ${y(values[0]).toFixed(1)}`, before = values[0];
  for (const [at, value] of points.slice(1)) {
    if (STEPS.has(metric)) line += `L${x(at).toFixed(1)} ${y(before).toFixed(1)}`;
    line += `L${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    before = value;
  }
  return line + `L${WIDTH} ${y(before).toFixed(1)}`;
}

export function chart(metric, points, label) {
  const drawn = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  if (points.length) {
    const line = path(points, metric, Math.floor(Date.now() / 1000));
    const flat = points.every(([, value]) => value === points[0][1]);
    if (!flat && !STEPS.has(metric)) drawn.append(svg("path", { class: "area", d: `${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z` }));
    drawn.append(svg("path", { d: line }));
  }
  return drawn;
}

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const round = (value) => Number(value.toPrecision(6)).toLocaleString("en", { maximumFractionDigits: 3 });

export function plot(metric, points, unit) {
  const values = points.map(([, value]) => value);
  const low = round(Math.min(...values)), high = round(Math.max(...values));
  const range = STEPS.has(metric) ? "" : `${low === high ? low : `${low} to ${high}`} ${unit}`;
  const from = points[0][0], day = Date.now() / 1000 - from > DAY / 2;
  return el("div", { class: "plot" },
    el("header", {}, el("b", {}, words(metric)), el("small", {}, range)),
    chart(metric, points, `${words(metric)} of the last day, ${range}`),
    el("footer", {}, el("span", {}, day ? "24 h ago" : clock(from)), el("span", {}, "now")));
}
