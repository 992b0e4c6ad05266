// The page: who one is, which view the address names, and the frame around it.

import { api, keepCsrf, whenLoggedOut } from "./api.js";
import { clear, fill, h } from "./dom.js";
import { zone } from "./format.js";
import { keys, keysDialog } from "./keys.js";
import { onStanding, startLive, stopLive } from "./live.js";
import { noticed, problemBox } from "./parts.js";
import { go, here, link } from "./router.js";
import { theme, themeChoice } from "./theme.js";
import { showBundle, showBundles } from "./views/bundles.js";
import { showLogin } from "./views/login.js";
import { showNight } from "./views/night.js";
import { showPatient } from "./views/patient.js";
import { showQueue } from "./views/queue.js";
import { showSlide } from "./views/slide.js";
import { say } from "./words.js";

const VIEWS = { queue: showQueue, slide: showSlide, patient: showPatient, bundles: showBundles, bundle: showBundle, night: showNight };
const TABS = [
  ["queue", "queue.title"],
  ["bundles", "bundles.title"],
  ["night", "night.title"],
];

const app = document.getElementById("app");
let me = null;
let end = null; // ends the view that is shown
let shown = ""; // its address without filters
let main = null;
let tabs = null;

/** Tell those who do not see the page what has changed. */
export function announce(text) {
  const place = document.getElementById("said");
  if (place) place.textContent = text;
}

function frame() {
  main = h("main", { id: "content", tabindex: "-1" });
  tabs = h("ul", { class: "tabs" });
  const standing = h("span", { class: "standing" });
  onStanding((live) => {
    standing.textContent = say(live ? "app.live" : "app.live.off");
    standing.classList.toggle("off", !live);
  });
  const skip = (event) => {
    event.preventDefault();
    main.focus();
  };
  fill(
    app,
    h("a", { class: "skip", href: "#content", on: { click: skip } }, say("app.skip")),
    noticed(
      h(
        "div",
        { class: "bar" },
        h("a", { class: "name", href: link(["queue"]) }, say("app.name")),
        h("nav", { "aria-label": say("app.nav") }, tabs),
        h(
          "div",
          { class: "own" },
          standing,
          h("span", { class: "soft" }, say("app.zone", { zone })),
          themeChoice(),
          h("button", { class: "button quiet small", type: "button", on: { click: keysDialog } }, say("app.keys")),
          h("span", null, say("app.who", me)),
          h("button", { class: "button quiet small", type: "button", on: { click: logOut } }, say("app.logout")),
        ),
      ),
    ),
    main,
    h("div", { id: "said", class: "unseen", "aria-live": "polite" }),
  );
}

function route() {
  if (!me) return;
  const { parts, query } = here();
  const name = parts[0] ?? "queue";
  const address = parts.join("/");
  for (const [view, key] of TABS) {
    if (!tabs.querySelector(`[data-view="${view}"]`)) {
      tabs.append(h("li", null, h("a", { href: link([view]), "data-view": view }, say(key))));
    }
  }
  const tab = name === "bundle" ? "bundles" : name;
  for (const one of tabs.querySelectorAll("a")) {
    if (one.dataset.view === tab) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  const fresh = address !== shown;
  if (!fresh && end?.requeried) {
    end.requeried(query);
    return;
  }
  end?.();
  end = null;
  shown = address;
  clear(main);
  const view = VIEWS[name];
  if (!view) {
    fill(main, h("h1", null, say("app.missing")));
    return;
  }
  main.className = `view-${name}`;
  try {
    end = view(main, { me, parts: parts.slice(1), query, announce, title });
  } catch (error) {
    fill(main, problemBox(error));
  }
  if (fresh) {
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}

function title(text) {
  document.title = say("app.title", { view: text });
}

function leave() {
  end?.();
  end = null;
  shown = "";
  me = null;
  stopLive();
}

async function logOut() {
  try {
    await api("/v1/session", { method: "DELETE" });
  } catch {
    // the session had ended already
  }
  leave();
  start();
}

function loggedIn(found) {
  me = found;
  keepCsrf(me.csrf);
  frame();
  startLive();
  route();
}

function askWho(text = "") {
  leave();
  title(say("login.title"));
  showLogin(app, { text, loggedIn });
}

async function start() {
  try {
    loggedIn(await api("/v1/me"));
  } catch (error) {
    if (error.status === 401) askWho();
    else fill(app, noticed(), h("main", null, problemBox(error, start)));
  }
}

whenLoggedOut(() => {
  if (me) askWho(say("login.ended"));
});
window.addEventListener("hashchange", route);
keys({ go: (place) => go(link([TABS[place][0]])), isIn: () => me !== null });
theme();
start();
