// What the page asks the gateway. Addresses are relative, so a reverse proxy may put the page anywhere.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const session = { may_read: false, may_command: false, needs_password: false, token: null };

async function answered(response) {
  const document = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, document.error ?? `HTTP ${response.status}`);
  return document;
}

export async function get(what, query = {}) {
  const parts = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const tail = parts.length ? `?${new URLSearchParams(parts)}` : "";
  return answered(await fetch(`page/${what}${tail}`, { cache: "no-store" }));
}

export async function post(what, fields) {
  const headers = { "Content-Type": "application/json" };
  if (session.token) headers["X-Meterbridge-Token"] = session.token;
  return answered(await fetch(`page/${what}`, { method: "POST", headers, body: JSON.stringify(fields) }));
}

export async function readSession() {
  return Object.assign(session, await get("session"));
}
