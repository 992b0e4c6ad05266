// One slide: class or status, scores, the slide with its map, quality, the highest tiles, files. Printed, it is a report.

import { address, api, submissionPath } from "../api.js";
import { curves, ruler } from "../charts.js";
import { clear, fill, h } from "../dom.js";
import { onEvent, throttled } from "../live.js";
import { picture } from "../picture.js";
import {
  actions, confirmed, facts, patientLink, problemBox, saidMark, seenBy, stateMark, table, timeMark,
} from "../parts.js";
import { link } from "../router.js";
import { say } from "../words.js";

const ENDED = ["done", "not_reportable", "failed"];
const STRONGEST = 6;
const TILE_PX = 224;

/** Show it; returns what ends it. */
export function showSlide(main, { me, parts, query, announce, title }) {
  const id = parts[0] ?? "";
  const wanted = query.get("bundle") ?? "";
  let stopped = false;
  let one = null; // the submission
  let shownState = ""; // of what is drawn: drawn anew only when it changes
  let drawn = null; // the picture

  const head = h("div", { class: "slide-head" });
  const trouble = h("div");
  const body = h("div", { class: "slide-body" });
  fill(main, head, trouble, body);

  const failed = (error) => !stopped && fill(trouble, problemBox(error, load));

  async function load() {
    try {
      one = await api(submissionPath(id));
    } catch (error) {
      failed(error);
      return;
    }
    if (stopped) return;
    clear(trouble);
    title(say("slide.title", { slide: one.slide_id }));
    const work = wanted ? one.works.find((found) => found.bundle === wanted) : one.works[0];
    const bundle = work?.bundle ?? "";
    drawHead(bundle);
    const state = JSON.stringify([one.state, one.withheld, bundle, work?.state, work?.reason, one.changed_at]);
    if (state === shownState) return;
    shownState = state;
    drawn?.destroy();
    drawn = null;
    await drawBody(work, bundle);
  }

  function drawHead(bundle) {
    const again = throttled(load, 50);
    const buttons = actions(me, one, again, failed);
    const may = ["done", "not_reportable"].includes(one.state) && me.may.includes("release");
    if (may) buttons.push(h("button", { class: "button quiet small", type: "button", on: { click: withdraw } }, say("act.withdraw")));
    fill(
      head,
      h("h1", null, say("slide.title", { slide: one.slide_id })),
      h("div", { class: "buttons no-print" }, buttons),
      one.works.length > 1 &&
        h(
          "nav",
          { class: "no-print", "aria-label": say("slide.bundles") },
          h(
            "ul",
            { class: "chips" },
            one.works.map((work) =>
              h(
                "li",
                null,
                h(
                  "a",
                  {
                    class: "chip",
                    href: link(["slide", one.id], { bundle: work.bundle }),
                    "aria-current": work.bundle === bundle ? "true" : null,
                  },
                  work.bundle,
                  work.shadow && ` (${say("slide.shadow")})`,
                ),
              ),
            ),
          ),
        ),
    );
  }

  async function withdraw() {
    const reason = await confirmed({
      title: say("act.withdraw.title", { slide: one.slide_id }),
      text: say("act.withdraw.text"),
      yes: say("act.withdraw"),
      field: say("act.reason"),
    });
    if (reason === null) return;
    try {
      await api(submissionPath(id, "withdraw"), { method: "POST", body: { reason } });
      load();
    } catch (error) {
      failed(error);
    }
  }

  const seen = h("dd", null, say("app.loading"));

  function about(bundle) {
    return h(
      "section",
      { class: "panel about" },
      h("h2", null, say("slide.facts")),
      facts([
        [say("slide.patient"), patientLink(one.patient_id)],
        [say("slide.route"), one.route],
        [say("slide.submission"), h("span", { class: "id" }, one.id, " ", say("queue.by", { who: one.submitted_by }))],
        [say("slide.came"), timeMark(one.submitted_at)],
        [say("slide.ended"), timeMark(one.ended_at)],
        [say("slide.priority"), say(`priority.${one.priority}`)],
        bundle && [say("slide.bundle"), h("a", { href: link(["bundle", bundle]) }, bundle)],
      ]),
      h("dl", { class: "facts no-print" }, h("div", null, h("dt", null, say("slide.seen")), seen)),
    );
  }

  async function drawBody(work, bundle) {
    const state = work?.state ?? one.state;
    if (one.withheld && !work) {
      // Of a failure the reason is shown to all; of what is done nothing.
      const text = one.state === "done" ? say("slide.withheld") : one.reason || say("slide.open");
      fill(body, plain(one.state, text), about(""));
      fill(seen, "–");
      return;
    }
    if (!ENDED.includes(state)) {
      const open = ["received", "waiting", "running"].includes(state);
      fill(body, plain(state, work?.reason || say(open ? "slide.open" : "slide.gone")), about(bundle));
      fill(seen, "–");
      return;
    }
    let page = null;
    try {
      page = await api(address(submissionPath(id, "page"), { bundle: wanted }));
    } catch (error) {
      if (stopped) return;
      if (error.status !== 404 && error.status !== 409) failed(error);
    }
    if (stopped) return;
    if (page === null) {
      fill(body, plain(state, work?.reason || say("slide.gone")), about(bundle));
      pictureFor(null, bundle);
    } else {
      drawResult(page, bundle);
    }
    note();
  }

  function plain(state, reason) {
    return h(
      "section",
      { class: "panel result" },
      h("h2", null, say("slide.result")),
      h("p", { class: "said" }, stateMark(state)),
      h("p", null, reason),
    );
  }

  async function note() {
    try {
      const found = await api(submissionPath(id, "seen"), { method: "POST", body: { bundle: wanted } });
      if (!stopped) fill(seen, seenBy(found.seen));
    } catch (error) {
      if (!stopped) fill(seen, error.message);
    }
  }

  function drawResult(page, bundle) {
    const result = h(
      "section",
      { class: "panel result" },
      h("h2", null, say("slide.result")),
      page.shadow && h("p", { class: "shadow" }, say("slide.shadow.text")),
      h("p", { class: "said" }, saidMark(page.said, true), h("span", null, page.said === "failed" ? say("slide.failed") : page.meaning)),
      page.flags.map((flag) => h("p", { class: "flag" }, flag.title && h("b", null, flag.title, " "), flag.text)),
      h("p", { class: "no-print" }, h("a", { href: link(["patient", page.patient_id]) }, say("slide.whole", { patient: page.patient_id }))),
    );
    const scores =
      page.rulers.length > 0 &&
      h(
        "section",
        { class: "panel scores" },
        h("h2", null, say("slide.scores")),
        page.rulers.map(ruler),
        h("p", { class: "note" }, page.ruler_note),
      );
    const survival =
      page.curves &&
      h(
        "section",
        { class: "panel survival" },
        h("h2", null, say("slide.curves")),
        h("p", null, page.curves.title),
        curves(page.curves, page.said),
        h("p", { class: "note" }, page.curves.note),
      );
    const quality =
      page.checks.length > 0 &&
      h(
        "section",
        { class: "panel quality" },
        h("h2", null, say("slide.quality")),
        table(
          say("slide.quality"),
          [
            { title: say("slide.quality.check") },
            { title: say("slide.quality.value") },
            { title: say("slide.quality.verdict"), class: "tight" },
            { title: say("slide.quality.says") },
          ],
          page.checks.map((check) => [
            check.name,
            check.value,
            h("span", { class: `verdict verdict-${check.verdict.replace(" ", "-")}` }, say(`slide.verdict.${check.verdict}`)),
            check.says,
          ]),
          { class: "checks" },
        ),
        h("p", { class: "note" }, page.eligibility),
      );
    const strongest = h("section", { class: "panel strongest", hidden: true });
    fill(
      body,
      h("div", { class: "left" }, pictureFor(page, bundle), outlinePanel(), strongest, quality),
      h("div", { class: "right" }, result, scores, survival, files(page), about(bundle)),
      foot(page),
    );
    if (page.rulers.length) drawStrongest(strongest, page.coordinates_note);
  }

  function pictureFor(page, bundle) {
    const place = h("section", { class: "panel picture" });
    if (page === null) body.prepend(h("div", { class: "left" }, place));
    drawn = picture(place, {
      submission: id,
      bundle: wanted,
      still: page?.files.includes("heatmap.png") ? fileAddress("heatmap.png") : "",
      caption: page?.caption ?? "",
      me,
      outline: () => document.getElementById("outline-panel"),
      changed: () => {
        shownState = "";
        load();
      },
    });
    return place;
  }

  function outlinePanel() {
    return h("section", { id: "outline-panel", class: "panel no-print", "aria-label": say("slide.outline"), hidden: true });
  }

  async function drawStrongest(place, coordinates) {
    let found;
    try {
      found = await api(address(submissionPath(id, "strongest"), { bundle: wanted, n: STRONGEST }));
    } catch (error) {
      failed(error);
      return;
    }
    if (stopped || !found.tiles.length) return;
    const resolutions = [...new Set(found.tiles.map((tile) => tile.resolution))];
    fill(
      place,
      resolutions.map((resolution) => [
        h("h2", null, say("slide.strongest", { resolution })),
        h("ol", { class: "tiles" }, found.tiles.filter((tile) => tile.resolution === resolution).map(tileOf)),
      ]),
      h("p", { class: "note" }, found.caption, " ", coordinates),
    );
    place.hidden = false;
  }

  function tileOf(tile, rank) {
    const region = address(submissionPath(id, "view", "region"), {
      x0: String(tile.x0),
      y0: String(tile.y0),
      width: Math.round(tile.width0),
      height: Math.round(tile.height0),
      px: TILE_PX,
      bundle: wanted,
    });
    const values = { rank: rank + 1, resolution: tile.resolution, score: tile.score.toFixed(3) };
    const image = h("img", { src: region, alt: "", width: 112, height: 112, loading: "lazy" });
    image.addEventListener("error", () => image.remove());
    return h(
      "li",
      null,
      h(
        "button",
        {
          class: "tile",
          type: "button",
          title: say("slide.strongest.jump", values),
          on: {
            click: () => {
              drawn?.jumpTo(tile);
              announce(say("slide.strongest.jump", values));
            },
          },
        },
        image,
        h("span", { class: "unseen" }, say("slide.strongest.tile", values)),
        h("span", null, say("slide.strongest.score", values)),
        h("span", { class: "soft" }, say("slide.strongest.place", tile)),
      ),
    );
  }

  function fileAddress(name) {
    return address(submissionPath(id, "files", name), { bundle: wanted });
  }

  function files(page) {
    const there = (name, key, attributes) =>
      page.files.includes(name) && h("li", null, h("a", { href: fileAddress(name), ...attributes }, say(key)));
    const save = { download: "" };
    const script = address(submissionPath(id, "qupath"), { bundle: wanted });
    return h(
      "section",
      { class: "panel files no-print" },
      h("h2", null, say("slide.files")),
      h(
        "ul",
        { class: "plain columns" },
        there("report.html", "slide.file.report", { target: "_blank", rel: "noopener" }),
        there("report.pdf", "slide.file.pdf", { target: "_blank", rel: "noopener" }),
        there("tiles.geojson", "slide.file.tiles", save),
        there("tumour.geojson", "slide.file.outline", save),
        there("result.json", "slide.file.result", save),
        page.files.includes("tiles.geojson") && h("li", null, h("a", { href: script, ...save }, say("slide.file.qupath"))),
      ),
      page.files.includes("tiles.geojson") && h("p", { class: "note" }, say("slide.file.qupath.help")),
      h("button", { class: "button", type: "button", on: { click: () => window.print() } }, say("slide.print")),
    );
  }

  function foot(page) {
    return h(
      "details",
      { class: "panel foot", open: true },
      h("summary", null, say("slide.foot")),
      facts(page.foot.map((row) => [row.name, h("span", { class: "id" }, row.value)])),
      h("p", { class: "note" }, say("app.notice")),
    );
  }

  const refresh = throttled(load, 1000);
  const endEvents = onEvent((event) => {
    if (event === null || event.submission === id || event.kind === "released" || event.kind === "withdrawn") refresh();
  });
  load();
  return () => {
    stopped = true;
    refresh.stop();
    endEvents();
    drawn?.destroy();
  };
}
