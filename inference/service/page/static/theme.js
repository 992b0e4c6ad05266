// Dark or light: as the system has it, or as the reader chose here.

import { h } from "./dom.js";
import { say } from "./words.js";

const KEPT = "pathoprog.theme";
const CHOICES = ["auto", "light", "dark"];

function chosen() {
  try {
    const found = localStorage.getItem(KEPT);
    return CHOICES.includes(found) ? found : "auto";
  } catch {
    return "auto"; // the browser keeps nothing
  }
}

/** Put the choice in force. */
export function theme() {
  const choice = chosen();
  if (choice === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
}

/** What the reader chooses with. */
export function themeChoice() {
  const now = chosen();
  return h(
    "label",
    { class: "theme" },
    h("span", null, say("app.theme")),
    h(
      "select",
      {
        on: {
          change: (event) => {
            try {
              localStorage.setItem(KEPT, event.target.value);
            } catch {
              // for this page alone
            }
            document.documentElement.dataset.theme = event.target.value;
            if (event.target.value === "auto") delete document.documentElement.dataset.theme;
          },
        },
      },
      CHOICES.map((one) => h("option", { value: one, selected: one === now }, say(`app.theme.${one}`))),
    ),
  );
}
