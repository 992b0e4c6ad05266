// Over the night: throughput, failures by reason, what was not reportable, by scanner.

import { address, api } from "../api.js";
import { bars } from "../charts.js";
import { fill, h } from "../dom.js";
import { day, duration, fullTime, percent } from "../format.js";
import { onEvent, throttled } from "../live.js";
import { facts, problemBox, saidMark, stateMark, table } from "../parts.js";
import { link, requery } from "../router.js";
import { say } from "../words.js";

const HOURS = ["12", "24", "168", "720"];
const REFRESH_MS = 10000;
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** Show it; returns what ends it. */
export function showNight(main, { query, title }) {
  let stopped = false;
  let asked = query;
  title(say("night.title"));
  const hours = h(
    "select",
    { on: { change: () => requery({ hours: hours.value === HOURS[0] ? "" : hours.value, ago: "" }) } },
    HOURS.map((one) => h("option", { value: one }, say(`night.hours.${one}`))),
  );
  const moves = h("div", { class: "buttons" });
  const body = h("div", null, h("p", { class: "soft" }, say("app.loading")));
  fill(
    main,
    h("h1", null, say("night.title")),
    h("form", { class: "filters", on: { submit: (event) => event.preventDefault() } }, h("label", { class: "field" }, h("span", null, say("night.hours")), hours), moves),
    body,
  );

  async function load() {
    const long = Number(asked.get("hours") ?? HOURS[0]);
    const ago = Number(asked.get("ago") ?? 0);
    hours.value = String(long);
    const to = (value) => link(["night"], { hours: asked.get("hours"), ago: value || "" });
    fill(
      moves,
      h("a", { class: "button quiet", href: to(ago + long) }, say("night.earlier")),
      ago > 0 && h("a", { class: "button quiet", href: to(Math.max(ago - long, 0)) }, say("night.later")),
      ago > 0 && h("a", { class: "button quiet", href: to(0) }, say("night.now")),
    );
    try {
      const found = await api(address("/v1/night", { hours: long, ago: String(ago) }));
      if (!stopped) draw(found, long);
    } catch (error) {
      if (!stopped) fill(body, problemBox(error, load));
    }
  }

  function draw(found, long) {
    const ended = found.done + found.not_reportable + found.failed;
    const label = (bin) => (found.bin_hours >= 24 ? day(bin.start) : CLOCK.format(new Date(bin.start)));
    const card = (value, key) => h("div", { class: "card" }, h("b", null, value), h("span", null, say(key)));
    const share = percent(found.not_reportable, found.done + found.not_reportable);
    fill(
      body,
      h("p", { class: "soft" }, say("night.span", { from: fullTime(found.start), to: fullTime(found.end) })),
      h(
        "div",
        { class: "cards" },
        card(ended, "night.card.ended"),
        card(found.submitted, "night.card.submitted"),
        card(found.open, "night.card.open"),
        card(found.failed, "night.card.failed"),
        card(found.not_reportable, "night.card.not_reportable"),
        card(share === "–" ? share : `${share} %`, "night.card.share"),
        card((ended / long).toFixed(1), "night.card.rate"),
        card(duration(found.median_s), "night.card.median"),
        card(duration(found.p90_s), "night.card.p90"),
      ),
      ended ? sections(found, label) : h("p", { class: "empty" }, say("night.none")),
    );
  }

  function sections(found, label) {
    return [
      h(
        "section",
        { class: "panel" },
        h("h2", null, say("night.throughput")),
        bars(found.bins, label),
        h(
          "ul",
          { class: "keys" },
          ["done", "not_reportable", "failed"].map((kind) => h("li", { class: `key-${kind}` }, say(`state.${kind}`))),
        ),
        h(
          "details",
          null,
          h("summary", null, say("night.throughput.table")),
          table(
            say("night.throughput"),
            [{ title: say("night.col.start") }, ...["done", "not_reportable", "failed"].map((kind) => ({ title: say(`state.${kind}`) }))],
            found.bins.map((bin) => [fullTime(bin.start), bin.done, bin.not_reportable, bin.failed]),
            { class: "rows numbers" },
          ),
        ),
      ),
      h(
        "div",
        { class: "two" },
        h(
          "section",
          { class: "panel" },
          h("h2", null, say("night.reasons")),
          found.reasons.length
            ? table(
                say("night.reasons"),
                [
                  { title: say("night.col.state"), class: "tight" },
                  { title: say("night.col.n"), class: "tight" },
                  { title: say("night.col.reason"), class: "reason" },
                  { title: say("night.col.last"), class: "tight" },
                ],
                found.reasons.map((one) => [
                  stateMark(one.state),
                  one.n,
                  one.reason,
                  h("a", { href: link(["slide", one.last]), "aria-label": `${say("night.col.open")}: ${one.reason}` }, say("night.col.open")),
                ]),
                { class: "rows" },
              )
            : h("p", null, say("night.reasons.none")),
        ),
        h(
          "section",
          { class: "panel" },
          h("h2", null, say("night.scanners")),
          table(
            say("night.scanners"),
            [
              { title: say("night.col.scanner") },
              ...["done", "not_reportable", "failed"].map((kind) => ({ title: say(`state.${kind}`) })),
              { title: say("night.col.share") },
            ],
            found.scanners.map((one) => {
              const all = one.done + one.not_reportable + one.failed;
              const name = one.vendor ? say("night.scanner", one) : say("night.scanner.unknown");
              return [name, one.done, one.not_reportable, one.failed, `${percent(all - one.done, all)} %`];
            }),
            { class: "rows numbers" },
          ),
          h("p", { class: "note" }, say("night.scanners.note")),
          h("h2", null, say("night.classes")),
          Object.keys(found.classes).length
            ? facts(found.possible_classes.map((said) => [saidMark(said), found.classes[said] ?? 0]))
            : h("p", null, say("night.classes.none")),
        ),
      ),
    ];
  }

  const refresh = throttled(load, REFRESH_MS);
  const endEvents = onEvent(() => refresh());
  load();
  const end = () => {
    stopped = true;
    refresh.stop();
    endEvents();
  };
  end.requeried = (now) => {
    asked = now;
    load();
  };
  return end;
}
