// Keeps the page true: a stream tells what changed, and only that is asked for again, once a second at most.

import { $, age, el } from "./dom.js";
import { get, post, readSession, session } from "./api.js";
import { refreshDetail, route, watchDetail } from "./detail.js";
import { options, showDevices, watchFilters } from "./devices.js";
import { showCommands } from "./journal.js";
import { showAccounts, showAlarms, showGaps, showGateway, showTiles } from "./overview.js";

async function showOverview() {
  const [overview, gaps] = await Promise.all([get("overview"), get("gaps")]);
  showGaps(gaps);
  showTiles(overview);
  showAccounts(overview.accounts, session.may_command);
  showGateway(overview);
  if (session.may_command && !$("gateway-orders")) {
    $("gateway").append(el("p", { id: "gateway-orders" }, el("a", { href: "#account/bridge" }, "Commands of the gateway")));
  }
  options("filter-account", overview.accounts.map((account) => account.id));
}

const PARTS = { gateway: showOverview, devices: showDevices, alarms: async () => showAlarms(await get("alarms")), commands: showCommands };

let stream, busy = false, waiting = new Set(), known = {};

function live(on) {
  $("live").classList.toggle("on", on);
  $("live").textContent = on ? "live" : "reconnecting";
}

async function refresh(names) {
  for (const name of names) waiting.add(name);
  if (busy || document.hidden) return;
  busy = true;
  try {
    while (waiting.size) {
      const now = waiting;
      waiting = new Set();
      await Promise.all([...now].map((name) => PARTS[name]()));
      await refreshDetail(now);
    }
  } catch (error) {
    if (error.status === 401) await begin();
    else live(false);
  } finally {
    busy = false;
  }
}

function listen() {
  stream?.close();
  stream = new EventSource("page/stream");
  stream.onmessage = (event) => {
    live(true);
    const told = JSON.parse(event.data), changed = Object.keys(told).filter((name) => told[name] !== known[name]);
    known = told;
    if (changed.includes("devices") || changed.includes("alarms")) changed.push("gateway");
    refresh(changed);
  };
  stream.onerror = () => {
    live(false);
    known = {};
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => begin().catch(() => {}), 3000);
  };
}

async function begin() {
  stream?.close();
  try {
    await readSession();
  } catch (error) {
    live(false);
    if (!error.status) setTimeout(() => begin().catch(() => {}), 3000);
    else $("live").textContent = error.message;
    return;
  }
  $("login").hidden = session.may_read;
  $("main").hidden = !session.may_read;
  $("logout").hidden = !session.token;
  document.querySelector(".bar").hidden = !session.may_read;
  if (!session.may_read) { $("password").focus(); return; }
  known = {};
  listen();
  await refresh(Object.keys(PARTS));
  await route();
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await post("login", { password: $("password").value });
    $("password").value = $("login-trouble").textContent = "";
    await begin();
  } catch (error) {
    $("login-trouble").textContent = error.message;
  }
});
$("logout").addEventListener("click", async () => { await post("logout", {}); location.reload(); });
document.addEventListener("visibilitychange", () => refresh([]));
watchFilters(() => refresh(["devices"]));
watchDetail();
setInterval(age, 1000);
setInterval(() => refresh(["gateway"]), 5000);
begin();
