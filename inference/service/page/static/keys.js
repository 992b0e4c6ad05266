// Keys of one letter; they can be turned off (WCAG 2.1.4), and never count while somebody writes.

import { h } from "./dom.js";
import { say } from "./words.js";

const KEPT = "pathoprog.keys";
const LISTED = ["1", "search", "rows", "help", "tab", "viewer"];

function areOn() {
  try {
    return localStorage.getItem(KEPT) !== "off";
  } catch {
    return true;
  }
}

/** Listen to them; `go(place)` goes to the view at a place of the bar. */
export function keys({ go, isIn }) {
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    const writes = at.closest?.("input:not([type=radio]):not([type=checkbox]), textarea, select, dialog, [role=application]");
    if (!isIn() || !areOn() || writes || event.ctrlKey || event.metaKey || event.altKey) return;
    if (["1", "2", "3"].includes(event.key)) go(Number(event.key) - 1);
    else if (event.key === "?") keysDialog();
    else if (event.key === "/") document.getElementById("search")?.focus();
    else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
    else return;
    event.preventDefault();
  });
}

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  const now = rows.indexOf(document.activeElement);
  const next = rows[now < 0 ? 0 : Math.min(Math.max(now + by, 0), rows.length - 1)];
  next?.focus();
}

/** The list of keys, and whether they count. */
export function keysDialog() {
  const on = h("input", {
    type: "checkbox",
    checked: areOn(),
    on: {
      change: () => {
        try {
          localStorage.setItem(KEPT, on.checked ? "on" : "off");
        } catch {
          // for this page alone
        }
      },
    },
  });
  const dialog = h(
    "dialog",
    { "aria-labelledby": "keys-title" },
    h("h2", { id: "keys-title" }, say("keys.title")),
    h(
      "dl",
      { class: "facts" },
      LISTED.map((one) => h("div", null, h("dt", null, h("kbd", null, say(`keys.${one}`))), h("dd", null, say(`keys.${one}.does`)))),
    ),
    h("label", { class: "check" }, on, h("span", null, say("keys.on"))),
    h(
      "div",
      { class: "buttons" },
      h("button", { class: "button", type: "button", on: { click: () => dialog.close() } }, say("app.close")),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
