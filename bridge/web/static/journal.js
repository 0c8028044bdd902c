// The journal: every command with every state that it went through.

import { $, ago, chip, el, keyed, shown, words } from "./dom.js";
import { get } from "./api.js";

const STATUS = {
  accepted: "info", sent: "info", succeeded: "good", failed: "bad", timed_out: "warn", cancelled: "warn", rejected: "bad", expired: "warn", indeterminate: "bad",
};

export const status = (word) => chip(word ?? "unknown", STATUS[word] ?? "");

export function told(params) {
  return Object.entries(params).map(([name, value]) => `${name} ${shown(value)}`).join(", ");
}

export function steps(command) {
  return el("ol", { class: "steps" }, command.steps.map((step) =>
    el("li", {}, el("b", {}, words(step.state === "final" ? command.status : step.state)), step.note ? `: ${step.note} ` : " ", el("time", { title: step.at }, new Date(step.at).toLocaleTimeString()))));
}

function row(command) {
  const target = [command.account, command.device].filter(Boolean).join("/");
  const open = () => { location.hash = `command/${encodeURIComponent(command.account)}/${encodeURIComponent(command.id)}`; };
  return el("div", { class: "row command", tabindex: "0", role: "button", onclick: open, onkeydown: (event) => event.key === "Enter" && open() },
    el("div", {}, status(command.status)),
    el("div", {}, el("div", { class: "name" }, words(command.command), " ", el("span", { class: "soft" }, told(command.params))), el("div", { class: "sub" }, command.id)),
    el("div", {}, el("div", {}, command.name ?? target), el("div", { class: "sub" }, command.name ? target : "")),
    el("div", { class: "message" }, ago(command.at), command.message ? ` · ${command.message}` : ""));
}

export async function showCommands() {
  const { commands } = await get("commands", { limit: 25 });
  keyed($("command-list"), commands, (command) => `${command.account}/${command.id}`, row, "No commands yet. Rejected ones and dry runs are not kept.");
}

export function facts(command) {
  const rows = [["account", command.account], ["device", command.device], ["id", command.id], ["parameters", told(command.params)], ["from", command.requester],
    ["code", command.code], ["vendor code", command.vendor_code], ["vendor reference", command.vendor_ref], ["sent to the vendor", command.attempt && `${command.attempt} ×`],
    ["asked the vendor", command.asks && `${command.asks} ×`], ["expires", command.expires_at]];
  return el("div", { class: "metrics" }, rows.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== 0)
    .map(([name, value]) => el("div", {}, el("span", {}, name), el("b", {}, shown(value)))));
}
