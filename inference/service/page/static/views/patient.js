// One patient: the slides, the rule that joined them, the class, what was left out and why, the stage group.

import { address, api } from "../api.js";
import { fill, h } from "../dom.js";
import { score } from "../format.js";
import { onEvent, throttled } from "../live.js";
import { facts, problemBox, saidMark, slideLink, stateMark, table } from "../parts.js";
import { say } from "../words.js";

/** Show it; returns what ends it. */
export function showPatient(main, { parts, title }) {
  const patient = parts[0] ?? "";
  let stopped = false;
  const trouble = h("div");
  const body = h("div", null, h("p", { class: "soft" }, say("app.loading")));
  title(say("patient.title", { patient }));
  fill(main, h("h1", null, say("patient.title", { patient })), trouble, body);

  async function load() {
    try {
      const [found, answer] = await Promise.all([
        api(address("/v1/submissions", { patient, limit: 200 })),
        api(`/v1/patients/${encodeURIComponent(patient)}/groups`),
      ]);
      if (stopped) return;
      fill(trouble);
      draw(found.submissions, answer.groups);
    } catch (error) {
      if (!stopped) fill(trouble, problemBox(error, load));
    }
  }

  function draw(submissions, groups) {
    if (!submissions.length) {
      fill(body, h("p", { class: "empty" }, say("patient.none")));
    } else if (!groups.length) {
      fill(body, h("p", null, say("patient.withheld")), slides(submissions));
    } else {
      const places = groups.map((group) => {
        const waits = h("p", { class: "soft", role: "status" }, say("patient.joining"));
        const place = h("section", { class: "panel" }, titleOf(group), waits);
        join(group, place, submissions);
        return place;
      });
      fill(body, places);
    }
  }

  /** What they come to by one bundle: it may take seconds, since the networks are asked where several become one. */
  async function join(group, place, submissions) {
    try {
      const path = `/v1/patients/${encodeURIComponent(patient)}`;
      const found = await api(address(path, { bundle: group.bundle, role: group.role }));
      if (!stopped) fill(place, titleOf(group), groupOf(group, found, submissions));
    } catch (error) {
      if (!stopped) fill(place, titleOf(group), problemBox(error, load));
    }
  }

  function titleOf(group) {
    return h("h2", null, say(group.role ? "patient.group.role" : "patient.group", group));
  }

  function groupOf(group, found, submissions) {
    const reasons = Object.fromEntries(submissions.map((one) => [one.id, reasonOf(one, group.bundle)]));
    return [
      found.shadow && h("p", { class: "shadow" }, say("slide.shadow.text")),
      found.status === "waiting"
        ? h("p", { class: "said" }, saidMark("", true), say("patient.waits"))
        : h("p", { class: "said" }, saidMark(found.risk_class || found.status, true)),
      facts([
        found.borderline && [say("slide.result"), say("patient.borderline")],
        [say("patient.rule"), say(`patient.rule.${found.rule}`)],
        Object.keys(found.scores).length > 0 && [
          say("patient.scores"),
          Object.entries(found.scores).map(([resolution, value]) =>
            h("div", null, say("patient.score", { resolution, score: score(value) })),
          ),
        ],
        found.clinical && [say("bundle.clinical"), found.clinical],
        found.reason && [say(found.status === "waiting" ? "patient.waits_for" : "patient.left_out"), found.reason],
      ]),
      h("h3", null, say("patient.slides")),
      table(
        say("patient.slides.by", group),
        [
          { title: say("patient.col.slide") },
          { title: say("patient.col.state"), class: "tight" },
          { title: say("patient.col.said"), class: "tight" },
          { title: say("patient.col.reason") },
        ],
        found.slides.map((one) => [
          slideLink(one.submission, one.slide_id, group.beside ? group.bundle : ""),
          stateMark(one.state),
          one.status ? saidMark(one.risk_class || one.status) : "–",
          reasons[one.submission] ?? "",
        ]),
        { class: "rows" },
      ),
      found.slides.length > 1 && h("p", { class: "note" }, say("patient.alone.note")),
      stage(group, found),
    ];
  }

  function reasonOf(one, bundle) {
    return (one.works.find((work) => work.bundle === bundle) ?? one).reason;
  }

  function slides(submissions) {
    return table(
      say("patient.slides"),
      [{ title: say("patient.col.slide") }, { title: say("patient.col.state") }, { title: say("patient.col.reason") }],
      submissions.map((one) => [slideLink(one.id, one.slide_id), stateMark(one.state), one.reason]),
      { class: "rows" },
    );
  }

  function stage(group, found) {
    const place = h("div", { role: "status" });
    const select = (values, prefix) => h("select", null, values.map((one) => h("option", { value: one }, `${prefix}${one}`)));
    const pt = select(["1", "2", "3", "4"], "pT");
    const pn = select(["0", "1", "2"], "pN");
    const nodes = h("input", { type: "number", min: 0, max: 1000, step: 1, inputmode: "numeric" });
    const submit = async (event) => {
      event.preventDefault();
      try {
        const answer = await api(
          address(`/v1/bundles/${encodeURIComponent(group.bundle)}/stage_group`, {
            risk_class: found.risk_class,
            pT: pt.value,
            pN: pn.value,
            nodes: nodes.value,
          }),
        );
        fill(
          place,
          h("p", { class: "strong" }, say("patient.stage.group", { group: say(`group.${answer.risk_group}`) })),
          h("p", null, say("patient.stage.cell", { pt: answer.pt_level, nodal: answer.nodal_level })),
          answer.in_sample && h("p", { class: "flag" }, say("patient.stage.in_sample")),
          h("p", { class: "note" }, answer.rule),
        );
      } catch (error) {
        fill(place, problemBox(error));
      }
    };
    let inside;
    if (!group.has_stage_groups) inside = h("p", { class: "note" }, say("patient.stage.none"));
    else if (!found.risk_class) inside = h("p", { class: "note" }, say("patient.stage.noclass"));
    else {
      inside = h(
        "form",
        { class: "filters no-print", on: { submit } },
        h("label", { class: "field" }, h("span", null, say("patient.stage.pt")), pt),
        h("label", { class: "field" }, h("span", null, say("patient.stage.pn")), pn),
        h("label", { class: "field" }, h("span", null, say("patient.stage.nodes")), nodes),
        h("button", { class: "button", type: "submit" }, say("patient.stage.do")),
        h("p", { class: "note" }, say("patient.stage.help")),
      );
    }
    return [h("h3", null, say("patient.stage")), inside, place];
  }

  const refresh = throttled(load, 3000);
  const endEvents = onEvent((event) => {
    if (event && ["done", "not_reportable", "failed", "withdrawn", "released"].includes(event.kind)) refresh();
  });
  load();
  return () => {
    stopped = true;
    refresh.stop();
    endEvents();
  };
}
