// Requests to the API: with the token against forged requests, and problems (RFC 9457) as errors.

export class Problem extends Error {
  constructor(body) {
    super(body.detail || body.title || "The service does not answer.");
    this.status = body.status ?? 0;
    this.errors = body.errors ?? [];
    this.body = body;
  }
}

const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";

/** Send a request; resolves with the JSON of the answer, or with the response where `raw` is set. */
export async function send(method, path, { body, headers = {}, raw = false, signal } = {}) {
  const sent = { Accept: "application/json", ...headers };
  if (csrf && method !== "GET") sent["X-CSRF-Token"] = csrf;
  let content = body;
  if (body !== undefined && !(body instanceof Blob) && typeof body !== "string") {
    content = JSON.stringify(body);
    sent["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(`/api/v1${path}`, { method, headers: sent, body: content, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ detail: "The service does not answer; is the network there?" });
  }
  if (response.status === 401) {
    const here = location.pathname + location.search;
    location.assign(`/sign-in?next=${encodeURIComponent(here)}`);
  }
  if (!response.ok) throw new Problem(await problemOf(response));
  if (raw) return response;
  return response.status === 204 ? null : response.json();
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return { status: response.status, detail: `The service answered ${response.status} ${response.statusText}.` };
  }
}

export const get = (path, options) => send("GET", path, options);
export const post = (path, body, options) => send("POST", path, { body, ...options });
export const patch = (path, body, options) => send("PATCH", path, { body, ...options });
export const remove = (path, options) => send("DELETE", path, options);
