// The first screen: is all well, and if not, what is wrong since when.

import { $, ago, bytes, chip, count, el, keyed, shown, since, span, words } from "./dom.js";

const STATES = { online: "good", degraded: "warn", rate_limited: "warn", unreachable: "bad", auth_failed: "bad" };
const SEVERITY = { critical: "bad", warning: "warn", info: "info" };
const window_ = (seconds) => span(seconds).replace(/^1 /, "");

export const severity = (word) => chip(word, SEVERITY[word] ?? "");

export function showTiles(overview) {
  const { gateway, accounts } = overview;
  const sum = (key) => accounts.reduce((total, account) => total + account[key], 0);
  const ill = accounts.filter((account) => account.state !== "online");
  const worst = ill.some((account) => STATES[account.state] === "bad") ? "is-bad" : ill.length ? "is-warn" : "";
  const { outbox, broker } = gateway;
  const tiles = [
    ["Broker", broker.connected ? "connected" : "away", broker.connected ? "" : "is-bad",
      broker.connected ? `MQTT ${broker.protocol}` : broker.trouble, "#gateway"],
    ["Accounts", `${accounts.length - ill.length} of ${accounts.length} online`, worst,
      ill.map((account) => account.id).join(", "), "#overview"],
    ["Devices", sum("devices").toLocaleString("en"), sum("offline") ? "is-warn" : "",
      sum("offline") ? `${sum("offline")} offline` : "none offline", "#devices"],
    ["Devices with alarms", sum("alarms").toLocaleString("en"), sum("alarms") ? "is-bad" : "", "", "#overview"],
    ["Waiting for the broker", count(outbox.messages, "message"), outbox.full || outbox.disk_low ? "is-bad" : outbox.messages > 1000 || !broker.connected ? "is-warn" : "",
      `${bytes(outbox.bytes)} of ${bytes(outbox.max_bytes)}`, "#gateway"],
  ].map(([label, value, kind, more, link]) => ({ label, value, kind, more, link }));
  keyed($("tiles"), tiles, (tile) => tile.label, ({ label, value, kind, more, link }) =>
    el("a", { class: `tile ${kind}`, href: link }, el("span", {}, label), el("b", {}, value), el("small", {}, more)));
}

// Windows of seconds, and of a single call, set the pace; what can run out for long is a budget.
const isBudget = (row) => row.limit > 1 && row.window_s >= 60;

function bar(row) {
  const part = Math.min(1, row.used / row.limit);
  const fill = el("i", { class: !isBudget(row) ? "is-pace" : part >= 1 ? "is-bad" : part >= 0.8 ? "is-warn" : "" });
  fill.style.width = `${(part * 100).toFixed(1)}%`;
  const name = row.scope === "account" ? row.endpoint : `${row.endpoint} (${row.scope})`;
  const resets = row.resets_at ? `, first one free ${new Date(row.resets_at).toLocaleTimeString()}` : "";
  return el("div", { class: "budget", title: `${row.remaining} left${resets}` },
    el("div", {}, el("span", {}, name), el("span", { class: "soft" }, `${row.used} of ${row.limit} per ${window_(row.window_s)}`)),
    el("div", { class: "track" }, fill));
}

export function showAccounts(accounts, mayCommand) {
  keyed($("accounts"), accounts, (account) => account.id, (account) => {
    const well = account.state === "online", kind = STATES[account.state] ?? "";
    const main = account.budgets.filter(isBudget).sort((one, other) => (other.scope === "account") - (one.scope === "account")), pace = account.budgets.filter((row) => !isBudget(row));
    const rows = [...main, ...pace].map(bar), first = Math.min(3, main.length), beyond = account.budgets_beyond + rows.length - first;
    return el("article", { class: "card", "data-account": account.id },
      el("header", {}, el("b", {}, account.id), el("span", { class: "soft" }, account.vendor), chip(account.state, kind)),
      !well && account.message && el("p", { class: `cause ${kind === "warn" ? "is-warn" : ""}` }, account.message),
      el("p", { class: "soft" }, `${count(account.devices, "device")}`, account.offline ? `, ${account.offline} offline` : "",
        account.waiting ? `, ${count(account.waiting, "call")} waiting` : "", ` · ${words(account.state)} for `, since(account.since)),
      !well && account.last_success && el("p", { class: "soft" }, "last good answer ", ago(account.last_success)),
      rows.slice(0, first),
      beyond > 0 && el("details", {}, el("summary", {}, `${first ? `${beyond} more` : "Limits in use:"} ${first ? (beyond === 1 ? "limit" : "limits") : beyond}`), rows.slice(first),
        account.budgets_beyond > 0 && el("p", { class: "soft" }, `${account.budgets_beyond} more on the topic budget`)),
      mayCommand && el("p", {}, el("a", { href: `#account/${encodeURIComponent(account.id)}` }, "Commands of the account")));
  }, "No accounts: the configuration has none.");
}

export function showAlarms({ alarms, devices }) {
  if (!alarms.length) { $("alarms").replaceChildren(); return; }
  if (!$("alarm-rows")) {
    $("alarms").replaceChildren(el("div", { class: "banner" }, el("h2", { id: "alarm-head" }), el("div", { id: "alarm-rows", class: "rows" })));
  }
  $("alarm-head").textContent = `${count(alarms.length, "active alarm")} on ${count(devices, "device")}`;
  keyed($("alarm-rows"), alarms, (alarm) => alarm.id, (alarm) =>
    el("a", { class: "row alarm", href: `#device/${encodeURIComponent(alarm.account)}/${encodeURIComponent(alarm.device)}` },
      severity(alarm.severity),
      el("div", {}, el("div", { class: "name" }, words(alarm.code), alarm.message ? `: ${alarm.message}` : ""),
        el("div", { class: "sub" }, `${alarm.name ?? alarm.device} · ${alarm.account}/${alarm.device}`)),
      ago(alarm.since)));
}

function pairs(entries) {
  return el("dl", { class: "pairs" }, entries.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

export function showGateway({ gateway, events }) {
  const { outbox, broker } = gateway, dropped = Object.entries(outbox.dropped);
  const cards = [
    { title: "Broker", rows: [["state", broker.connected ? "connected" : `away: ${broker.trouble}`], ["protocol", broker.protocol ?? ""],
      ["connections lost", broker.lost], ["commands under way", gateway.commands_under_way]] },
    { title: "Outbox", rows: [["messages", outbox.messages], ["size", `${bytes(outbox.bytes)} of ${bytes(outbox.max_bytes)}`],
      ["oldest", outbox.messages ? span(outbox.oldest_s ?? 0) : "none"],
      ...(outbox.disk_low ? [["disk", "little room left"]] : []), ...(outbox.full ? [["full", "nothing more is taken in"]] : []), ...Object.entries(outbox.by_class),
      ...dropped.map(([name, number]) => [`dropped: ${name}`, number])] },
    { title: "Process", rows: [["version", gateway.version], ["instance", gateway.instance], ["running since", gateway.started_at],
      ["state database", gateway.store ?? "takes changes"], ["dead letters", gateway.dead_letters]] },
    ...gateway.locks.map((lock) => ({ title: "Locked", rows: [["what", [lock.account, lock.device].filter(Boolean).join("/") || "everything"], ["reason", lock.reason || "none given"]] })),
  ];
  keyed($("gateway-cards"), cards, (card) => card.title + shown(card.rows[0]), (card) =>
    el("article", { class: "card" }, el("header", {}, el("b", {}, card.title)),
      pairs(card.rows.map(([name, value]) => [words(name), name === "running since" ? ago(value) : shown(value)]))));
  keyed($("events"), events, (event) => event.ts + event.code + event.message, (event) =>
    el("div", { class: "row event" }, severity(event.severity),
      el("div", {}, el("div", { class: "name" }, words(event.code)), el("div", { class: "soft" }, event.message)), ago(event.ts)),
  "Nothing since the gateway started.");
}

const GAPS = { missing: "warn", filling: "info", unfillable: "" };

export function showGaps({ gaps, states }) {
  $("gap-count").textContent = Object.entries(states).map(([state, number]) => `${number.toLocaleString("en")} ${state}`).join(", ");
  keyed($("gap-list"), gaps, (gap) => String(gap.key), (gap) => el("a", { class: "row event", href: `#device/${encodeURIComponent(gap.account)}/${encodeURIComponent(gap.device)}` },
    chip(gap.state, GAPS[gap.state]),
    el("div", {}, el("div", { class: "name" }, gap.name ?? `${gap.account}/${gap.device}`),
      el("div", { class: "sub" }, `${gap.certain ? "" : "perhaps: "}${new Date(gap.start).toLocaleString()} to ${new Date(gap.end).toLocaleString()}${gap.message ? ` · ${gap.message}` : ""}`)),
    el("time", {}, span((Date.parse(gap.end) - Date.parse(gap.start)) / 1000))), "No holes are known.");
}
