// Commands from the page: a form made of the command's JSON Schema, one id per form so that a second click is the same
// command, and the journal's states as they come.

import { el, shown, words } from "./dom.js";
import { get, post, session } from "./api.js";
import { facts, status, steps } from "./journal.js";

const SECRET = /pass|secret|token/i;

export function offers(place, target, commands) {
  const names = Object.keys(commands);
  if (!names.length) return;
  if (!session.may_command) {
    const topic = [target.account, target.device && encodeURIComponent(target.device)].filter(Boolean).join("/");
    place.append(el("details", {}, el("summary", {}, `${names.length} commands over MQTT`),
      el("div", { class: "metrics" }, names.map((name) => el("div", { title: commands[name].description }, el("span", {}, words(name)), el("code", {}, `…/${topic}/cmd/${name}`))))));
    return;
  }
  const form = el("div");
  place.append(el("h3", {}, "Commands"), el("div", { class: "offers" }, names.map((name) =>
    el("button", { class: "quiet", title: commands[name].description, onclick: () => form.replaceChildren(order(target, name, commands[name])) }, words(name)))), form);
}

function newId() {
  const random = crypto.getRandomValues(new Uint8Array(8));
  return `page-${[...random].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function resolved(schema, root) {
  if (schema.$ref) return { ...resolved(root.$defs[schema.$ref.split("/").pop()], root), ...schema, $ref: undefined };
  const choices = (schema.anyOf ?? []).filter((one) => one.type !== "null");
  return choices.length === 1 ? { ...resolved(choices[0], root), ...schema, anyOf: undefined } : schema;
}

// A field: its element, and what it gives: undefined where nothing was entered. Raises an Error in words.
function field(name, schema, required) {
  const empty = () => el("option", { value: "" }, required ? "choose" : "leave as it is");
  if (schema.enum) {
    const input = el("select", { name, required }, empty(), schema.enum.map((value) => el("option", { value }, shown(value))));
    return { input, read: () => schema.enum.find((value) => shown(value) === input.value) };
  }
  if (schema.type === "boolean") {
    const input = el("select", { name, required }, empty(), el("option", { value: "true" }, "yes"), el("option", { value: "false" }, "no"));
    return { input, read: () => ({ true: true, false: false })[input.value] };
  }
  if (schema.type === "integer" || schema.type === "number") {
    const input = el("input", { name, required, type: "number", step: schema.type === "integer" ? 1 : "any", min: schema.minimum, max: schema.maximum });
    return { input, read: () => (input.value === "" ? undefined : Number(input.value)) };
  }
  if (schema.type === "string") {
    const input = el("input", { name, required, type: SECRET.test(name) ? "password" : "text", autocomplete: "off", maxlength: schema.maxLength });
    return { input, read: () => (input.value === "" ? undefined : input.value) };
  }
  const input = el("textarea", { name, required, rows: 3, placeholder: "JSON" });
  return { input, read: () => {
    if (input.value.trim() === "") return undefined;
    try { return JSON.parse(input.value); } catch { throw new Error(`${name}: expected JSON`); }
  } };
}

function order(target, name, offer) {
  const needed = new Set(offer.params.required ?? []), id = newId();
  const fields = Object.entries(offer.params.properties ?? {}).map(([key, schema]) => {
    const whole = resolved(schema, offer.params), made = field(key, whole, needed.has(key));
    return { key, ...made, label: el("label", {}, el("span", {}, words(key), needed.has(key) ? " *" : ""), made.input, whole.description && el("small", {}, whole.description)) };
  });
  const confirm = el("input", { type: "checkbox", name: "confirm" });
  const tick = el("label", { class: "tick", hidden: !offer.confirm }, confirm, el("span", {}, "I know what this does: confirm it"));
  const answer = el("div", { role: "status" });
  const acts = el("div", { class: "acts" });

  function payload(extra) {
    const given = Object.fromEntries(fields.map((one) => [one.key, one.read()]).filter(([, value]) => value !== undefined));
    return { ...given, id, ...(confirm.checked ? { confirm: true } : {}), ...extra };
  }
  async function send(extra) {
    try {
      const { ack } = await post("send", { account: target.account, device: target.device, command: name, payload: payload(extra) });
      if (ack.code === "confirm_required") tick.hidden = false;
      answer.replaceChildren(el("p", {}, status(ack.status), " ", [ack.code, ack.message].filter(Boolean).map(words).join(": ")),
        ack.dry_run && el("pre", {}, JSON.stringify(ack.result, null, 2)));
      if (ack.status !== "rejected" && !ack.dry_run) await follow(ack, acts, answer);
    } catch (error) {
      answer.replaceChildren(el("p", { class: "bad" }, error.message));
    }
  }
  function ask() {
    if (!offer.writes) { send({}); return; }
    const what = fields.map((one) => one.input.value && SECRET.test(one.key) ? "…" : one.input.value).filter(Boolean).join(", ");
    acts.replaceChildren(el("b", {}, `Send “${words(name)}${what ? ` ${what}` : ""}” to ${target.name}?`),
      el("button", { type: "button", class: "danger", onclick: () => { acts.replaceChildren(...usual); send({}); } }, "Yes, send"),
      el("button", { type: "button", class: "quiet", onclick: () => acts.replaceChildren(...usual) }, "No"));
  }
  const usual = [el("button", {}, "Send"), el("button", { type: "button", class: "quiet", onclick: () => form.reportValidity() && send({ dry_run: true }) }, "Dry run")];
  acts.append(...usual);
  const form = el("form", { class: "order", onsubmit: (event) => { event.preventDefault(); ask(); } },
    el("b", {}, words(name)), el("p", { class: "soft" }, offer.description), fields.map((one) => one.label), tick, acts, answer);
  return form;
}

// The journal's view of a command until it is final.
async function follow(ack, acts, answer) {
  for (const button of acts.querySelectorAll("button")) button.disabled = true;
  for (let round = 0; round < 600; round += 1) {
    const command = await get("command", { account: ack.account, id: ack.id });
    answer.replaceChildren(el("p", {}, status(command.status), " ", command.message), steps(command), facts(command));
    if (command.state === "final" || !answer.isConnected) return;
    await new Promise((done) => setTimeout(done, 1000));
  }
}
