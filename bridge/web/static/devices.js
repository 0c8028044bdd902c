// The list of devices: searched, filtered and paged by the gateway, so thousands are no burden here.

import { $, ago, chip, count, el, keyed, shown, words } from "./dom.js";
import { get } from "./api.js";
import { chart } from "./charts.js";

const PAGE = 25;
let offset = 0, asked = 0;

function value({ name, value, unit, meaning }) {
  return el("span", { class: "value", title: meaning }, el("small", {}, words(name)), el("b", {}, shown(value)), unit ? ` ${unit}` : "");
}

function row(device) {
  const there = device.available === null ? "" : device.available ? "on" : "off";
  const label = { on: "online", off: "offline", "": "not known" }[there];
  return el("a", { class: "row device", href: `#device/${encodeURIComponent(device.account)}/${encodeURIComponent(device.device)}` },
    el("div", {}, el("div", { class: "name" }, el("span", { class: `dot ${there}`, title: label, role: "img", "aria-label": label }), device.name ?? device.device),
      el("div", { class: "sub" }, `${device.account}/${device.device} · ${words(device.kind)}`)),
    el("div", { class: "state" }, device.alarms.length ? device.alarms.slice(0, 2).map((code) => chip(code, "bad")) : there === "off" ? chip("offline", "warn") : ""),
    el("div", { class: "values" }, device.values.map(value)),
    el("div", { class: "spark" }, device.chart && device.chart.points.length > 1 && chart(device.chart.metric, device.chart.points, `${words(device.chart.metric)} of the last day`)),
    ago(device.ts));
}

export async function showDevices() {
  const turn = ++asked;
  const answer = await get("devices", {
    q: $("search").value, account: $("filter-account").value, kind: $("filter-kind").value, only: $("filter-only").value, offset, limit: PAGE,
  });
  if (turn !== asked) return;
  if (offset && offset >= answer.fitting) { offset = 0; await showDevices(); return; }
  $("device-count").textContent = answer.fitting === answer.total ? count(answer.total, "device") : `${answer.fitting.toLocaleString("en")} of ${count(answer.total, "device")}`;
  options("filter-kind", answer.kinds);
  keyed($("device-list"), answer.devices, (device) => `${device.account}/${device.device}`, row,
    answer.total ? "No device fits." : "No devices yet: the first inventory is on its way.");
  const until = Math.min(offset + PAGE, answer.fitting);
  $("pages").textContent = answer.fitting > PAGE ? `${offset + 1} to ${until} of ${answer.fitting.toLocaleString("en")}` : "";
  for (const id of ["before", "after"]) $(id).hidden = answer.fitting <= PAGE;
  $("before").disabled = offset === 0;
  $("after").disabled = until >= answer.fitting;
}

export function options(id, names) {
  const select = $(id), known = [...select.options].slice(1).map((one) => one.value);
  if (known.join("\n") === names.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...names.map((name) => el("option", { value: name }, words(name))));
  select.value = names.includes(chosen) ? chosen : "";
}

export function watchFilters(show) {
  let later;
  $("filters").addEventListener("input", () => {
    offset = 0;
    clearTimeout(later);
    later = setTimeout(show, 150);
  });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("before").addEventListener("click", () => { offset = Math.max(0, offset - PAGE); show(); });
  $("after").addEventListener("click", () => { offset += PAGE; show(); });
}
