// Requests to the server; an error has the `status` of the answer, 0 without one.
export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new RequestError("no response: is the server in the terminal still running?", 0);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({ error: `the server returned status ${response.status}` }));
  throw new RequestError(body.error, response.status);
}

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
