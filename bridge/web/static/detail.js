// One device, one command or one account in full, in a dialog that has an address of its own.

import { $, ago, chip, el, shown, words } from "./dom.js";
import { get, session } from "./api.js";
import { plot } from "./charts.js";
import { facts, status, steps } from "./journal.js";
import { severity } from "./overview.js";
import { offers } from "./orders.js";

const FACTS = ["vendor", "manufacturer", "model", "serial", "firmware", "address", "parent"];
let current = null;

function frame(title, sub, ...parts) {
  const close = () => $("detail").close();
  const body = el("div", {}, parts);
  $("detail").replaceChildren(el("header", {}, el("div", {}, el("h2", {}, title), el("small", {}, sub)), el("button", { class: "quiet", onclick: close, "aria-label": "Close" }, "Close")), body);
  if (!$("detail").open) $("detail").showModal();
  return body;
}

function deviceParts(device) {
  const units = Object.fromEntries(device.metrics.map((one) => [one.name, one.unit]));
  const charts = Object.entries(device.charts).filter(([, points]) => points.length > 1);
  const info = device.info, rows = FACTS.filter((name) => info[name]).map((name) => [name, info[name]]);
  const more = Object.entries(info.vendor_info ?? {});
  return [
    el("p", {}, device.available === null ? chip("not known") : device.available ? chip("online", "good") : chip("offline", "warn"), " ", chip(device.kind), " last values ", ago(device.ts)),
    device.active_alarms.map((alarm) => el("p", {}, severity(alarm.severity), " ", el("b", {}, words(alarm.code)), alarm.message ? `: ${alarm.message} ` : " ", ago(alarm.since))),
    charts.length > 0 && el("h3", {}, "The last day"),
    el("div", { class: "charts" }, charts.map(([name, points]) => plot(name, points, units[name] ?? ""))),
    el("h3", {}, "Values"),
    el("div", { class: "metrics" }, device.metrics.map((one) => el("div", { title: one.meaning }, el("span", {}, words(one.name)), el("b", {}, shown(one.value), one.unit ? ` ${one.unit}` : "")))),
    el("h3", {}, "Device"),
    el("div", { class: "metrics" }, [...rows, ...more].map(([name, value]) => el("div", {}, el("span", {}, words(name)), el("b", {}, shown(value))))),
  ];
}

async function drawDevice(account, id) {
  const device = await get("device", { account, device: id });
  if (!current?.values) {
    const values = el("div"), orders = el("div");
    frame(device.name ?? device.device, `${account}/${id}`, orders, values);
    offers(orders, { account, device: id, name: device.name ?? id }, device.commands);
    current.values = values;
  }
  current.values.replaceChildren(...deviceParts(device).flat().filter(Boolean));
}

async function drawCommand(account, id) {
  const command = await get("command", { account, id });
  frame(words(command.command), command.name ?? [command.account, command.device].filter(Boolean).join("/"),
    el("p", {}, status(command.status), " ", command.message), facts(command), el("h3", {}, "What happened"), steps(command));
}

async function drawAccount(account) {
  if (current.drawn) return;
  current.drawn = true;
  const orders = el("div");
  frame(account === "bridge" ? "The gateway" : account, "commands", orders);
  offers(orders, { account, device: null, name: account }, await get("offers", { account }));
}

const DRAW = { device: [drawDevice, "devices"], command: [drawCommand, "commands"], account: [drawAccount, ""] };

// A part of an address. One that was typed or cut wrongly stays as it is, and nobody knows it.
function plain(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

// Follows the address: #device/ACCOUNT/ID, #command/ACCOUNT/ID, #account/ID.
export async function route() {
  const [kind, ...names] = location.hash.slice(1).split("/").map(plain);
  if (!DRAW[kind]) { current = null; if ($("detail").open) $("detail").close(); return; }
  current = { kind, names };
  await refreshDetail();
}

export async function refreshDetail(changed = null) {
  if (!current || !session.may_read) return;
  const [draw, about] = DRAW[current.kind];
  if (changed && !changed.has(about)) return;
  try {
    await draw(...current.names);
  } catch (error) {
    if (error.status !== 404) throw error;
    frame("Not here", current.names.join("/"), el("p", {}, "The gateway does not know this (any more)."));
  }
}

export function watchDetail() {
  $("detail").addEventListener("close", () => {
    if (!current) return;
    const section = DRAW[current.kind][1];
    current = null;
    history.replaceState(null, "", section ? `#${section}` : "#overview");
  });
  $("detail").addEventListener("click", (event) => event.target === $("detail") && $("detail").close());
  addEventListener("hashchange", route);
}
