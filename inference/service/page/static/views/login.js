// The log-in: a token for a cookie.

import { api } from "../api.js";
import { fill, h } from "../dom.js";
import { noticed, problemBox } from "../parts.js";
import { say } from "../words.js";

/** Show it; `loggedIn(me)` is called when somebody is. */
export function showLogin(app, { text, loggedIn }) {
  const token = h("input", {
    type: "password",
    id: "token",
    autocomplete: "current-password",
    required: true,
    maxlength: 200,
    "aria-describedby": "token-help",
  });
  const wrong = h("div");
  const submit = async (event) => {
    event.preventDefault();
    fill(wrong);
    try {
      loggedIn(await api("/v1/session", { method: "POST", body: { token: token.value.trim() } }));
    } catch (error) {
      fill(wrong, problemBox(error));
      token.select();
    }
  };
  fill(
    app,
    noticed(),
    h(
      "main",
      { class: "login" },
      h("h1", null, say("app.name")),
      text && h("p", { role: "status" }, text),
      h(
        "form",
        { on: { submit } },
        h("label", { class: "field", for: "token" }, h("span", null, say("login.token")), token),
        h("p", { class: "note", id: "token-help" }, say("login.help")),
        wrong,
        h("div", { class: "buttons" }, h("button", { class: "button", type: "submit" }, say("login.do"))),
      ),
    ),
  );
  token.focus();
}
