// Questions to the service: the session's cookie goes with them, and the CSRF token with what changes something.

export class ApiError extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.detail = detail;
  }
}

let csrf = "";
let onLoggedOut = () => {};

/** Called when the service no longer knows the session. */
export function whenLoggedOut(callback) {
  onLoggedOut = callback;
}

/** Keep the token of a log-in, or of `me`. */
export function keepCsrf(token) {
  csrf = token;
}

async function problemOf(answer) {
  let found = {};
  try {
    found = await answer.json();
  } catch {
    // no JSON: a proxy's own page
  }
  return new ApiError(answer.status, found.title || answer.statusText, found.detail || "");
}

/** Ask, and get the parsed answer; an answer without content is null. */
export async function api(path, { method = "GET", body = undefined, signal = undefined } = {}) {
  const headers = {};
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "", "");
  }
  if (!answer.ok) {
    const problem = await problemOf(answer);
    if (answer.status === 401 && path !== "/v1/session") onLoggedOut();
    throw problem;
  }
  return answer.status === 204 ? null : answer.json();
}

/** An address with a query; values that are empty, false or null are left out, arrays are repeated. */
export function address(path, query = {}) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== "" && one !== null && one !== undefined && one !== false) found.append(name, String(one));
    }
  }
  const text = found.toString();
  return text ? `${path}?${text}` : path;
}

/** The address of a submission, whatever its id holds. */
export function submissionPath(id, ...rest) {
  return ["/v1/submissions", encodeURIComponent(id), ...rest.map(encodeURIComponent)].join("/");
}
