// Pieces that several views are made of.

import { api, submissionPath } from "./api.js";
import { h } from "./dom.js";
import { fullTime, time } from "./format.js";
import { link } from "./router.js";
import { say } from "./words.js";

/** The head of every view: what it is for, and what it is not for. */
export function noticed(...below) {
  return h("header", null, h("p", { class: "notice" }, say("app.notice")), below);
}

/** A state as a word with its colour. */
export function stateMark(state) {
  return h("span", { class: `mark state-${state}` }, say(`state.${state}`));
}

/** A class, or a status, as a word with its colour. */
export function saidMark(said, large = false) {
  return h("span", { class: `mark said-${said || "none"}${large ? " large" : ""}` }, say(`said.${said || "none"}`));
}

/** A time with the full one behind it. */
export function timeMark(iso) {
  return iso ? h("time", { datetime: iso, title: fullTime(iso) }, time(iso)) : "–";
}

/** A link to a slide's view. */
export function slideLink(submission, slideId, bundle = "") {
  return h("a", { href: link(["slide", submission], { bundle }), class: "id" }, slideId);
}

/** A link to a patient's view. */
export function patientLink(patient) {
  return h("a", { href: link(["patient", patient]), class: "id" }, patient);
}

/** Who has seen a result. */
export function seenBy(seen) {
  if (!seen.length) return h("span", { class: "soft" }, say("queue.nobody"));
  return h(
    "ul",
    { class: "plain" },
    seen.map((one) => h("li", null, one.who, " ", h("span", { class: "soft" }, timeMark(one.at)))),
  );
}

/** What went wrong, in words, with the way to try again. */
export function problemBox(error, again = null) {
  const text = error.status === 0 ? say("app.unreachable") : error.message || String(error);
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("p", null, error.title && error.detail ? say("app.problem", error) : text),
    again && h("button", { class: "button quiet", type: "button", on: { click: again } }, say("app.again")),
  );
}

/** A list of names and values. */
export function facts(rows) {
  return h(
    "dl",
    { class: "facts" },
    rows.filter(Boolean).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))),
  );
}

/** A table in a frame that scrolls sideways by itself; `columns`: [{title, class}], `rows`: arrays of cells. */
export function table(caption, columns, rows, attributes = {}) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      attributes,
      h("caption", { class: "unseen" }, caption),
      h("thead", null, h("tr", null, columns.map((one) => h("th", { scope: "col", class: one.class }, one.title)))),
      h(
        "tbody",
        null,
        rows.map((cells) =>
          h("tr", null, cells.map((cell, place) => h("td", { class: columns[place].class }, cell))),
        ),
      ),
    ),
  );
}

/** Ask before something is done; gives the text of the field (or "") if it shall be done, else null. */
export function confirmed({ title, text, yes, field = "" }) {
  return new Promise((settle) => {
    const input = field ? h("input", { name: "field", required: true, maxlength: 200, autocomplete: "off" }) : null;
    let answer = null;
    const form = h(
      "form",
      {
        on: {
          submit: (event) => {
            event.preventDefault();
            answer = input ? input.value : "";
            dialog.close();
          },
        },
      },
      h("h2", { id: "dialog-title" }, title),
      h("p", null, text),
      input && h("label", { class: "field" }, h("span", null, field), input),
      h(
        "div",
        { class: "buttons" },
        h("button", { class: "button", type: "submit" }, yes),
        h("button", { class: "button quiet", type: "button", on: { click: () => dialog.close() } }, say("app.cancel")),
      ),
    );
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      settle(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Buttons for what may be done about a submission; `done` is called after, `failed` with what went wrong. */
export function actions(me, one, done, failed) {
  const may = (permission) => me.may.includes(permission);
  const open = ["received", "waiting", "running"].includes(one.state);
  const order = (path, how) => async () => {
    try {
      await api(submissionPath(one.id, path), how);
      done();
    } catch (error) {
      failed(error);
    }
  };
  const found = [];
  const button = (key, call) =>
    found.push(
      h(
        "button",
        {
          class: "button quiet small",
          type: "button",
          "aria-label": say("act.for", { what: say(key), slide: one.slide_id }),
          on: { click: call },
        },
        say(key),
      ),
    );
  if (["failed", "cancelled"].includes(one.state) && may("requeue")) {
    button("act.requeue", order("requeue", { method: "POST" }));
  }
  if (open && may("prioritise")) {
    const urgent = one.priority === "urgent";
    const priority = urgent ? "routine" : "urgent";
    const key = urgent ? "act.routine" : "act.urgent";
    if (one.state !== "running") button(key, order("priority", { method: "PUT", body: { priority } }));
  }
  if (open && one.state !== "running" && may("cancel")) button("act.cancel", order("cancel", { method: "POST" }));
  return found;
}
