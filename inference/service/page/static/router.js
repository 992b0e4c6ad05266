// Addresses of views: #/view/id?filter=value. They hold ids and filters, and can be kept and sent.

/** The view that the address names: its parts and its query. */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decoded);
  return { parts, query: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a view; empty values are left out. */
export function link(parts, query = {}) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== "" && value !== null && value !== undefined && value !== false) found.set(name, String(value));
  }
  const text = found.toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** Go to a view. */
export function go(address) {
  location.hash = address;
}

/** Change the address's query in place, without a new entry in the history. */
export function requery(changes) {
  const { parts, query } = here();
  const now = { ...Object.fromEntries(query), ...changes };
  history.replaceState(null, "", link(parts, now));
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}
