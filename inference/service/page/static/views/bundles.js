// Bundles: what they are, whether released, by whom and when; two of them on the same slides.

import { address, api } from "../api.js";
import { scatter } from "../charts.js";
import { fill, h } from "../dom.js";
import { percent } from "../format.js";
import { onEvent, throttled } from "../live.js";
import { markdown } from "../markdown.js";
import { confirmed, facts, problemBox, saidMark, slideLink, table, timeMark } from "../parts.js";
import { link, requery } from "../router.js";
import { say } from "../words.js";

const SAID = ["good", "uncertain", "poor", "not_reportable", "failed"];
const LISTED = 50;

/** Those that whoever asks may see anything of. */
async function visible(me) {
  const found = (await api("/v1/bundles")).bundles;
  return found.filter((one) => !one.shadow || me.may.includes("see_shadow"));
}

function bundlePath(name, ...rest) {
  return ["/v1/bundles", encodeURIComponent(name), ...rest].join("/");
}

function standing(one) {
  return h(
    "span",
    { class: `mark ${one.shadow ? "shadow-mark" : "released-mark"}` },
    say(one.shadow ? "bundles.shadow" : "bundles.released"),
  );
}

/** Show all; returns what ends it. */
export function showBundles(main, { me, title }) {
  let stopped = false;
  title(say("bundles.title"));
  const body = h("div", null, h("p", { class: "soft" }, say("app.loading")));
  fill(main, h("h1", null, say("bundles.title")), body);

  async function load() {
    try {
      const found = await visible(me);
      if (!stopped) draw(found);
    } catch (error) {
      if (!stopped) fill(body, problemBox(error, load));
    }
  }

  function draw(found) {
    if (!found.length) {
      fill(body, h("p", { class: "empty" }, say("bundles.none")));
      return;
    }
    fill(
      body,
      table(
        say("bundles.title"),
        [
          { title: say("bundles.col.name") },
          { title: say("bundles.col.standing") },
          { title: say("bundle.since") },
          { title: say("bundles.col.champion") },
          { title: say("bundles.col.beside") },
          { title: say("bundles.col.workers") },
        ],
        found.map((one) => [
          h("a", { href: link(["bundle", one.name]) }, one.name),
          standing(one),
          timeMark(one.released_at),
          one.routes.join(", ") || "–",
          one.beside.join(", ") || "–",
          [`${one.ready}/${one.workers}`, one.trouble && h("p", { class: "flag" }, say("bundles.trouble"))],
        ]),
        { class: "rows" },
      ),
    );
  }

  const refresh = throttled(load, 3000);
  const endEvents = onEvent((event) => {
    if (event === null || event.kind === "released" || event.kind === "withdrawn" || event.kind === "alarm") refresh();
  });
  load();
  return () => {
    stopped = true;
    refresh.stop();
    endEvents();
  };
}

/** Show one; returns what ends it. */
export function showBundle(main, { me, parts, query, title }) {
  const name = parts[0] ?? "";
  let stopped = false;
  title(say("bundle.title", { bundle: name }));
  const trouble = h("div");
  const body = h("div", { class: "bundle" }, h("p", { class: "soft" }, say("app.loading")));
  const compared = h("section", { class: "panel", hidden: true });
  fill(main, h("h1", null, say("bundle.title", { bundle: name })), trouble, body);

  async function load() {
    try {
      const [card, bundles] = await Promise.all([api(bundlePath(name, "card")), visible(me)]);
      if (stopped) return;
      draw(card, bundles);
      if (query.get("with")) compare(query.get("with"));
    } catch (error) {
      if (!stopped) fill(body, problemBox(error, load));
    }
  }

  async function order(what) {
    const yes = say(`bundle.${what}`);
    const values = { bundle: name };
    const answer = await confirmed({ title: say(`bundle.${what}.title`, values), text: say(`bundle.${what}.text`), yes });
    if (answer === null) return;
    try {
      await api(bundlePath(name, what), { method: "POST" });
      load();
    } catch (error) {
      fill(trouble, problemBox(error));
    }
  }

  function draw(card, bundles) {
    const others = bundles.filter((one) => one.name !== name);
    const may = me.may.includes("release");
    const what = card.shadow ? "release" : "withhold";
    fill(
      body,
      h(
        "section",
        { class: "panel" },
        h("h2", null, say("bundle.facts")),
        h(
          "p",
          { class: "said" },
          standing(card),
          may && h("button", { class: "button", type: "button", on: { click: () => order(what) } }, say(`bundle.${what}`)),
        ),
        facts([
          [say("bundle.id"), h("span", { class: "id" }, card.ensemble_id)],
          [say("bundle.since"), timeMark(card.released_at)],
          [
            say("bundle.thresholds"),
            Object.entries(card.thresholds).map(([resolution, value]) =>
              h("div", null, say("bundle.threshold", { resolution, value: value.toFixed(4) })),
            ),
          ],
          [say("bundle.aggregation"), say(`patient.rule.${card.aggregation}`)],
          [say("bundle.policy"), card.tumour_policy],
          [say("bundle.stage"), say(card.has_stage_groups ? "app.yes" : "app.no")],
          card.clinical && [say("bundle.clinical"), say("bundle.clinical.says", { says: card.clinical })],
        ]),
        card.caution && h("p", { class: "flag" }, card.caution),
        h("h3", null, say("bundle.history")),
        card.history.length
          ? h(
              "ul",
              null,
              card.history.map((one) =>
                h("li", null, before(one), h("time", { datetime: one.at }, timeMark(one.at))),
              ),
            )
          : h("p", null, say("bundle.history.none")),
        h("p", { class: "note" }, say("bundle.history.note")),
      ),
      validation(card),
      others.length > 0 && chooser(others),
      compared,
      h(
        "section",
        { class: "panel card" },
        h("h2", null, say("bundle.card")),
        card.model_card ? markdown(card.model_card) : h("p", null, say("bundle.card.none")),
      ),
    );
  }

  function before(one) {
    const key = one.released ? "bundle.history.released" : "bundle.history.withheld";
    return say(key, { who: one.by, time: "" });
  }

  function validation(card) {
    const found = card.validation;
    return h(
      "section",
      { class: "panel" },
      h("h2", null, say("bundle.validation")),
      found
        ? [
            h("p", null, say("bundle.validation.of", found)),
            found.stamp && h("p", { class: "flag" }, found.stamp),
            h(
              "ul",
              null,
              Object.entries(found.classes).map(([said, n]) =>
                h("li", null, say("bundle.validation.classes", { said: say(`said.${said}`), n })),
              ),
            ),
            found.has_report &&
              h(
                "p",
                null,
                h(
                  "a",
                  { href: bundlePath(name, "validation"), target: "_blank", rel: "noopener" },
                  say("bundle.validation.report"),
                ),
              ),
          ]
        : h("p", null, say("bundle.validation.none")),
    );
  }

  function chooser(others) {
    const select = h(
      "select",
      null,
      others.map((one) => h("option", { value: one.name, selected: one.name === query.get("with") }, one.name)),
    );
    const submit = (event) => {
      event.preventDefault();
      requery({ with: select.value });
    };
    return h(
      "section",
      { class: "panel" },
      h("h2", null, say("bundle.compare")),
      h(
        "form",
        { class: "filters", on: { submit } },
        h("label", { class: "field" }, h("span", null, say("bundle.compare.with")), select),
        h("button", { class: "button", type: "submit" }, say("bundle.compare.do")),
      ),
    );
  }

  async function compare(other) {
    compared.hidden = false;
    try {
      const found = await api(address(bundlePath(name, "comparison"), { other }));
      if (stopped) return;
      fill(compared, h("h2", null, say("compare.title", found)), found.n ? comparison(found) : h("p", null, say("compare.none")));
    } catch (error) {
      if (!stopped) fill(compared, problemBox(error));
    }
  }

  function comparison(found) {
    const rows = SAID.filter((said) => found.table[said]);
    const columns = SAID.filter((said) => Object.values(found.table).some((row) => row[said]));
    const sum = (values) => values.reduce((total, n) => total + n, 0);
    const cell = (row, column) => found.table[row][column] ?? 0;
    const shared = Object.keys(found.thresholds).filter((resolution) => resolution in found.other_thresholds);
    const differing = found.slides.filter((one) => one.said !== one.other_said);
    return [
      h("p", { class: "strong" }, say("compare.said", { agree: found.agree, n: found.n, share: percent(found.agree, found.n) })),
      h("p", { class: "note" }, say("compare.note")),
      h(
        "table",
        { class: "cross" },
        h("caption", null, say("compare.table", found)),
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            h("td"),
            columns.map((column) => h("th", { scope: "col" }, saidMark(column))),
            h("th", { scope: "col" }, say("compare.sum")),
          ),
        ),
        h(
          "tbody",
          null,
          rows.map((row) =>
            h(
              "tr",
              null,
              h("th", { scope: "row" }, saidMark(row)),
              columns.map((column) => h("td", { class: row === column ? "same" : null }, cell(row, column))),
              h("td", null, sum(Object.values(found.table[row]))),
            ),
          ),
          h(
            "tr",
            null,
            h("th", { scope: "row" }, say("compare.sum")),
            columns.map((column) => h("td", null, sum(rows.map((row) => cell(row, column))))),
            h("td", null, found.n),
          ),
        ),
      ),
      h(
        "div",
        { class: "pair" },
        shared.map((resolution) =>
          h(
            "figure",
            null,
            scatter(found, resolution),
            h("figcaption", { class: "note" }, say("compare.scatter", { ...found, resolution })),
          ),
        ),
      ),
      found.slides.length < found.n && h("p", { class: "note" }, say("compare.newest", { n: found.n, shown: found.slides.length })),
      h("h3", null, say("compare.differ")),
      differing.length
        ? table(
            say("compare.differ"),
            [{ title: say("patient.col.slide") }, { title: found.bundle }, { title: found.other }],
            differing
              .slice(0, LISTED)
              .map((one) => [slideLink(one.submission, one.slide_id), saidMark(one.said), saidMark(one.other_said)]),
            { class: "rows" },
          )
        : h("p", null, say("compare.differ.none")),
    ];
  }

  load();
  return () => {
    stopped = true;
  };
}
