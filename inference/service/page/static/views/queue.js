// The queue: what failed, runs, waits and is done, live; filters stand in the address.

import { address, api } from "../api.js";
import { clear, fill, h } from "../dom.js";
import { duration, since } from "../format.js";
import { onEvent, throttled } from "../live.js";
import { actions, patientLink, problemBox, seenBy, slideLink, stateMark, table, timeMark } from "../parts.js";
import { here, link, requery } from "../router.js";
import { say } from "../words.js";

const PAGE = 100;
const HOURS = ["12", "24", "168", "0"];
const USUAL = "24";
const REFRESH_MS = 2000;
const TICK_MS = 5000;
const STANDING_MS = 15000;
const CHIPS = [
  ["", []],
  ["failed", ["failed"]],
  ["running", ["running"]],
  ["waiting", ["waiting", "received"]],
  ["not_reportable", ["not_reportable"]],
  ["done", ["done"]],
  ["gone", ["cancelled", "withdrawn", "superseded"]],
];

/** Show it; returns what ends it. */
export function showQueue(main, { me, query, announce, title }) {
  title(say("queue.title"));
  let asked = query;
  let found = null;
  let stopped = false;
  let running = null;

  const chips = h("ul", { class: "chips" });
  const body = h("div", { id: "queue-body" }, h("p", { class: "soft" }, say("app.loading")));
  const trouble = h("div");
  const standing = h("div", { role: "status" });
  const search = h("input", {
    id: "search",
    type: "search",
    maxlength: 200,
    value: query.get("text") ?? "",
    on: { input: throttled(() => requery({ text: search.value.trim(), skip: "" }), 300) },
  });
  const route = h("select", { on: { change: () => requery({ route: route.value, skip: "" }) } });
  const hours = h(
    "select",
    { on: { change: () => requery({ hours: hours.value === USUAL ? "" : hours.value, skip: "" }) } },
    HOURS.map((one) => h("option", { value: one }, say(`queue.hours.${one}`))),
  );
  const clearing = h(
    "a",
    { class: "button quiet", href: link(["queue"]), on: { click: () => (search.value = "") } },
    say("queue.clear"),
  );
  fill(
    main,
    h("h1", null, say("queue.title")),
    h("section", { "aria-label": say("queue.counts") }, chips),
    h(
      "form",
      { class: "filters", role: "search", "aria-label": say("queue.filters"), on: { submit: (event) => event.preventDefault() } },
      h("label", { class: "field wide" }, h("span", null, say("queue.search")), search),
      h("label", { class: "field" }, h("span", null, say("queue.route")), route),
      h("label", { class: "field" }, h("span", null, say("queue.hours")), hours),
      clearing,
    ),
    me.may.includes("look_up") && lookup(),
    standing,
    trouble,
    body,
  );

  /** Whether the service scores at all; a night's queue that stands still must say so. */
  async function stand() {
    const found = [];
    try {
      await api("/ready");
    } catch (error) {
      if (error.status === 503) found.push(say("queue.not_ready"));
    }
    try {
      const bundles = (await api("/v1/bundles")).bundles.filter((one) => one.trouble);
      found.push(...bundles.map((one) => say("queue.trouble", { bundle: one.name })));
    } catch {
      // what the queue itself asks for says so
    }
    if (!stopped) fill(standing, found.map((text) => h("p", { class: "flag" }, text)));
  }

  async function load() {
    running?.abort();
    running = new AbortController();
    const chip = CHIPS.find(([name]) => name === (asked.get("state") ?? "")) ?? CHIPS[0];
    try {
      found = await api(
        address("/v1/worklist", {
          state: chip[1],
          route: asked.get("route"),
          text: asked.get("text"),
          hours: asked.get("hours") ?? USUAL,
          unseen: asked.get("unseen") === "1",
          skip: asked.get("skip"),
          limit: PAGE,
        }),
        { signal: running.signal },
      );
    } catch (error) {
      if (error.name !== "AbortError" && !stopped) fill(trouble, problemBox(error, load));
      return;
    }
    if (stopped) return;
    clear(trouble);
    draw();
  }

  function draw() {
    const state = asked.get("state") ?? "";
    const unseen = asked.get("unseen") === "1";
    const all = Object.values(found.counts).reduce((sum, n) => sum + n, 0);
    fill(
      chips,
      CHIPS.map(([name, states]) => {
        const n = name ? states.reduce((sum, one) => sum + (found.counts[one] ?? 0), 0) : all;
        return chip(name, say(`queue.${name || "all"}`), n, { state: name, unseen: "" }, !unseen && name === state);
      }),
      chip("unseen", say("queue.unseen"), found.unseen, { state: "", unseen: "1" }, unseen),
    );
    hours.value = asked.get("hours") ?? USUAL;
    const filtered = state || unseen || asked.get("text") || asked.get("route");
    clearing.hidden = !filtered && !asked.get("hours");
    const focused = document.activeElement?.closest?.("#queue-body") ? document.activeElement.dataset.row : null;
    if (!found.rows.length) {
      const empty = filtered ? "queue.empty.filtered" : asked.get("hours") === "0" ? "queue.empty.first" : "queue.empty";
      fill(body, h("p", { class: "empty" }, say(empty)));
      return;
    }
    fill(body, rows(), pages());
    if (focused) [...body.querySelectorAll("[data-row]")].find((one) => one.dataset.row === focused)?.focus();
  }

  function chip(name, text, n, changes, current) {
    const now = Object.fromEntries(here().query);
    const target = link(["queue"], { ...now, skip: "", ...changes });
    return h(
      "li",
      null,
      h(
        "a",
        { href: target, class: `chip chip-${name || "all"}${n ? "" : " zero"}`, "aria-current": current ? "true" : null },
        h("b", null, n),
        " ",
        text,
      ),
    );
  }

  function rows() {
    return table(
      say("queue.table"),
      [
        { title: say("queue.col.state"), class: "tight" },
        { title: say("queue.col.slide") },
        { title: say("queue.col.patient") },
        { title: say("queue.col.route"), class: "tight" },
        { title: say("queue.col.when"), class: "tight" },
        { title: say("queue.col.reason"), class: "reason" },
        { title: say("queue.col.seen"), class: "tight" },
        { title: say("queue.col.actions"), class: "tight" },
      ],
      found.rows.map((row) => {
        const one = row.submission;
        const to = slideLink(one.id, one.slide_id);
        to.dataset.row = one.id;
        const ended = ["done", "not_reportable", "failed"].includes(one.state) && !one.withheld;
        return [
          [stateMark(one.state), one.priority === "urgent" && h("span", { class: "mark urgent" }, say("priority.urgent"))],
          to,
          patientLink(one.patient_id),
          one.route,
          when(one),
          progress(row),
          ended ? seenBy(row.seen) : "–",
          h("div", { class: "buttons" }, actions(me, one, load, (error) => fill(trouble, problemBox(error)))),
        ];
      }),
      { class: "rows queue" },
    );
  }

  function when(one) {
    const iso = one.ended_at || one.submitted_at;
    const text = say(one.ended_at ? "queue.ended" : "queue.came", { time: "\u0000" }).split("\u0000");
    return [text[0], timeMark(iso), text[1] ?? ""];
  }

  function progress(row) {
    const one = row.submission;
    if (one.state === "running") return say("queue.running.since", { time: duration(since(one.changed_at)) });
    if (one.state === "received") return one.reason || say("queue.received");
    if (one.state === "waiting") {
      const place = row.ahead === 0 ? say("queue.ahead.0") : say("queue.ahead", { n: row.ahead });
      return one.reason ? `${place}; ${one.reason}` : place;
    }
    return one.withheld && one.state === "done" ? say("queue.withheld") : one.reason;
  }

  function pages() {
    const skip = Number(asked.get("skip") ?? 0);
    if (found.total <= PAGE && !skip) return null;
    const now = Object.fromEntries(here().query);
    const to = Math.min(skip + found.rows.length, found.total);
    return h(
      "nav",
      { class: "pages", "aria-label": say("queue.page", { from: skip + 1, to, total: found.total }) },
      h("span", null, say("queue.page", { from: skip + 1, to, total: found.total })),
      skip > 0 && h("a", { href: link(["queue"], { ...now, skip: Math.max(skip - PAGE, 0) || "" }) }, say("queue.previous")),
      to < found.total && h("a", { href: link(["queue"], { ...now, skip: skip + PAGE }) }, say("queue.next")),
    );
  }

  function lookup() {
    const number = h("input", { maxlength: 200, required: true, autocomplete: "off", "aria-describedby": "case-help" });
    const answer = h("div", { role: "status" });
    const submit = async (event) => {
      event.preventDefault();
      try {
        const case_ = await api("/v1/lookups", { method: "POST", body: { case: number.value.trim() } });
        const ids = [...case_.slide_ids, ...case_.patient_ids];
        const none = ids.length ? say("queue.case.only", { ids: ids.join(", ") }) : say("queue.case.none");
        fill(
          answer,
          case_.submissions.length
            ? [
                h("p", null, say("queue.case.found", { n: case_.submissions.length })),
                h(
                  "ul",
                  null,
                  case_.submissions.map((one) => h("li", null, stateMark(one.state), " ", slideLink(one.id, one.slide_id))),
                ),
              ]
            : h("p", null, none),
        );
      } catch (error) {
        fill(answer, problemBox(error));
      }
    };
    return h(
      "form",
      { class: "filters case", on: { submit } },
      h("label", { class: "field" }, h("span", null, say("queue.case")), number),
      h("button", { class: "button", type: "submit" }, say("queue.case.do")),
      h("p", { class: "note", id: "case-help" }, say("queue.case.help")),
      answer,
    );
  }

  async function routes() {
    const names = [...new Set(Object.values(await api("/v1/roots")).flat())].sort();
    fill(
      route,
      h("option", { value: "" }, say("queue.route.all")),
      names.map((name) => h("option", { value: name, selected: name === asked.get("route") }, name)),
    );
  }

  const refresh = throttled(load, REFRESH_MS);
  const endEvents = onEvent((event) => {
    if (event?.kind === "failed") announce(say("queue.said.failed", { slide: event.slide_id }));
    refresh();
  });
  const tick = setInterval(() => found?.rows.some((row) => row.submission.state === "running") && draw(), TICK_MS);
  const watch = setInterval(stand, STANDING_MS);
  stand();
  routes().catch((error) => fill(trouble, problemBox(error)));
  load();

  const end = () => {
    stopped = true;
    running?.abort();
    refresh.stop();
    clearInterval(tick);
    clearInterval(watch);
    endEvents();
  };
  end.requeried = (now) => {
    asked = now;
    route.value = now.get("route") ?? "";
    if (search !== document.activeElement) search.value = now.get("text") ?? "";
    load();
  };
  return end;
}
