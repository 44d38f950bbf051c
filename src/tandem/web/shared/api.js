// Requests to the server; an error has the `status` of the answer, 0 without one.
const TRIES = 30; // of a request that a busy server turns away

export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function send(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new RequestError("no response: is the server in the terminal still running?", 0);
  }
}

// a busy server is asked again when it says; the event `busy` has in words what is waited for, "" when that is over
async function request(path, options) {
  let response = await send(path, options);
  for (let tries = 1; response.status === 503 && tries < TRIES; tries++) {
    const seconds = Number(response.headers.get("Retry-After")) || 2;
    tellBusy(`The server is busy with other requests; this one is sent again in ${seconds} s.`);
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    response = await send(path, options);
    if (response.status !== 503) tellBusy("");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({ error: `the server returned status ${response.status}` }));
  throw new RequestError(body.error, response.status);
}

const tellBusy = (text) => dispatchEvent(new CustomEvent("busy", { detail: text }));

export async function getJson(path) {
  return (await request(path)).json();
}

// fields: [name, text] or [name, file, file name]
export async function postForm(path, fields) {
  const form = new FormData();
  for (const field of fields) form.append(...field);
  return (await request(path, { method: "POST", body: form })).json();
}

// the response, whatever its type
export async function postJson(path, content) {
  const headers = { "Content-Type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(content) });
}
