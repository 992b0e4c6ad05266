// Correcting a slide's outline: accept it, draw areas that are added or cut out, or hand another one in as GeoJSON. The
// corrected slide is a submission of its own; its result and the first stand side by side.

import { submissionPath } from "./api.js";
import { fill, h } from "./dom.js";
import { link } from "./router.js";

const MAY = "correct_outline";
const MOST_BYTES = 4 << 20; // as limits.outline_kib has it by default
const AGAIN_MS = 4000;
const OPEN = ["received", "waiting", "running"];

/** Mount the panel for whoever may correct; it stays hidden for others, and where nothing was said of the outline. */
export async function mountOutline(panel, { submission, bundle = "", viewer, me, api, say, changed }) {
  const found = new OutlinePanel(panel, { submission, bundle, viewer, me, api, say, changed });
  await found.load();
  return found;
}

class OutlinePanel {
  #panel;
  #path;
  #submission;
  #bundle;
  #viewer;
  #api;
  #say;
  #changed;
  #may;
  #told = null; // the answer of …/outline
  #results = new Map(); // by submission: {submission, result}
  #edits = [];
  #drawing = "";
  #sending = false;
  #gone = false;
  #timer = 0;
  #word;
  #tools;
  #compare;

  constructor(panel, { submission, bundle, viewer, me, api, say, changed }) {
    this.#panel = panel;
    this.#bundle = bundle;
    this.#submission = submission;
    this.#path = submissionPath(submission, "outline");
    this.#viewer = viewer;
    this.#api = api;
    this.#say = say;
    this.#changed = changed;
    this.#may = me.may.includes(MAY);
    this.#word = h("p", { class: "note", role: "status" });
    this.#tools = h("div", { class: "ol-tools", role: "group", "aria-label": say("outline.tools") });
    this.#compare = h("div", null);
  }

  /** Ask what was said of the outline, and show it. */
  async load() {
    try {
      this.#told = await this.#api(this.#path);
      await this.#loadResults();
    } catch {
      return; // withheld, or there is nothing to say anything of: the panel stays hidden
    }
    const { corrections, accepted, corrects } = this.#told;
    const champion = this.#results.get(this.#submission)?.submission.works[0]?.bundle;
    if (this.#bundle && this.#bundle !== champion) return; // the outline of another bundle is shown
    if (this.#gone || !(this.#may || corrections.length || accepted.length || corrects)) return;
    this.#paint();
    this.#panel.hidden = false;
    if (corrections.some((one) => OPEN.includes(one.state))) this.#later();
  }

  destroy() {
    this.#gone = true;
    clearTimeout(this.#timer);
    this.#viewer?.stopDrawing?.();
    this.#viewer?.showEdits?.([]);
    this.#panel.replaceChildren();
    this.#panel.hidden = true;
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      if (this.#gone) return;
      const before = this.#states();
      await this.load();
      if (!this.#gone && before !== this.#states()) this.#changed?.();
    }, AGAIN_MS);
  }

  #states() {
    return this.#told.corrections.map((one) => one.state).join();
  }

  /** The results to stand side by side: the first, and each of its corrections. */
  async #loadResults() {
    const first = this.#told.corrects || this.#submission;
    if (first !== this.#submission) {
      const told = await this.#api(submissionPath(first, "outline"));
      this.#told.corrections = told.corrections;
    }
    const asked = [first, ...this.#told.corrections.map((one) => one.id)];
    for (const one of asked) {
      if (this.#results.get(one)?.result) continue;
      const submission = await this.#api(submissionPath(one));
      let result = null;
      if (!OPEN.includes(submission.state)) {
        result = await this.#api(submissionPath(one, "result")).then((answer) => answer.result, () => null);
      }
      this.#results.set(one, { submission, result });
    }
    this.#results = new Map(asked.map((one) => [one, this.#results.get(one)]));
  }

  #paint() {
    const say = this.#say;
    const { accepted, can_be_corrected: can, why_not: why, corrects } = this.#told;
    const last = accepted.at(-1);
    fill(
      this.#panel,
      h("h3", null, say("outline.title")),
      corrects && h("p", null, say("outline.is_correction"), " ",
        h("a", { href: link(["slide", corrects]) }, say("outline.first"))),
      last && h("p", null, say("outline.accepted", { by: last.by, at: last.at })),
      this.#word,
      this.#may && can && this.#changing(),
      this.#may && !can && h("p", null, why),
      this.#compare,
    );
    this.#paintTools();
    this.#paintCompare();
  }

  #changing() {
    const say = this.#say;
    const text = h("textarea", { spellcheck: "false", "aria-label": say("outline.paste") });
    const file = h("input", {
      type: "file",
      accept: ".geojson,.json,application/geo+json",
      on: { change: () => this.#read(file, text) },
    });
    return [
      h("p", null, say("outline.help")),
      this.#viewer ? this.#tools : h("p", null, say("outline.no_viewer")),
      h("details", { class: "ol-given" },
        h("summary", null, say("outline.given")),
        h("p", null, say("outline.given_help")),
        h("label", { class: "field" }, h("span", null, say("outline.file")), file),
        h("label", { class: "field" }, h("span", null, say("outline.paste")), text),
        h("button", { class: "button", type: "button", on: { click: () => this.#give(text.value) } },
          say("outline.send_given"))),
      h("p", null,
        h("button", { class: "button quiet", type: "button", on: { click: () => this.#send({ accept: true }) } },
          say("outline.accept"))),
    ];
  }

  #paintTools() {
    if (!this.#viewer) return;
    const say = this.#say;
    const button = (key, act, { off = false, pressed = null, quiet = true } = {}) =>
      h("button", {
        class: quiet ? "button quiet" : "button",
        type: "button",
        disabled: off || this.#sending,
        "aria-pressed": pressed === null ? null : String(pressed),
        on: { click: act },
      }, say(key));
    fill(
      this.#tools,
      button("outline.add", () => this.#draw("add"), { pressed: this.#drawing === "add" }),
      button("outline.subtract", () => this.#draw("subtract"), { pressed: this.#drawing === "subtract" }),
      button("outline.undo", () => this.#undo(), { off: !this.#edits.length }),
      button("outline.send", () => this.#send({ edits: this.#edits.map(({ kind, ring }) => ({ operation: kind, ring })) }), {
        off: !this.#edits.length,
        quiet: false,
      }),
      h("span", null, say("outline.drawn", { n: this.#edits.length })),
    );
  }

  #draw(kind) {
    const again = this.#drawing === kind;
    this.#viewer.stopDrawing();
    if (again) return;
    this.#drawing = kind;
    this.#paintTools();
    this.#viewer.draw({
      kind,
      done: (ring) => {
        this.#drawing = "";
        if (ring) this.#edits.push({ kind, ring });
        this.#viewer.showEdits(this.#edits);
        if (!this.#gone) this.#paintTools();
      },
    });
  }

  #undo() {
    this.#edits.pop();
    this.#viewer.showEdits(this.#edits);
    this.#paintTools();
  }

  async #read(file, text) {
    const [chosen] = file.files;
    if (!chosen) return;
    if (chosen.size > MOST_BYTES) this.#tell(this.#say("outline.too_large"));
    else text.value = await chosen.text();
  }

  #give(text) {
    let geojson;
    try {
      geojson = JSON.parse(text);
    } catch {
      geojson = null;
    }
    if (geojson === null || typeof geojson !== "object" || Array.isArray(geojson)) {
      this.#tell(this.#say("outline.no_geojson"));
      return;
    }
    this.#send({ geojson });
  }

  async #send(body) {
    if (this.#sending) return;
    this.#sending = true;
    this.#tell(this.#say("outline.sending"));
    this.#paintTools();
    try {
      await this.#api(this.#path, { method: "POST", body });
      this.#edits = [];
      this.#viewer?.showEdits([]);
      await this.load();
      this.#tell(this.#say(body.accept ? "outline.was_accepted" : "outline.was_sent"));
      if (!this.#gone) this.#changed?.();
    } catch (error) {
      this.#tell(error.message);
    } finally {
      this.#sending = false;
      if (!this.#gone) this.#paintTools();
    }
  }

  #tell(text) {
    this.#word.textContent = text;
  }

  /** The first result and its corrections in one table. */
  #paintCompare() {
    const say = this.#say;
    if (this.#results.size < 2) {
      fill(this.#compare);
      return;
    }
    const scored = new Set([...this.#results.values()].flatMap(({ result }) => Object.keys(result?.scores ?? {})));
    const resolutions = [...scored].sort(); // 10x, 20x, 40x
    const score = (result, resolution) => {
      const one = result?.scores?.[resolution];
      return one ? say("outline.score", { score: one.score.toFixed(3), threshold: one.threshold.toFixed(3) }) : "";
    };
    const rows = [...this.#results.values()].map(({ submission, result }, index) =>
      h("tr", null,
        h("th", { scope: "row" },
          h("a", { href: link(["slide", submission.id]), "aria-current": submission.id === this.#submission ? "true" : null },
            index ? submission.slide_id : say("outline.first"))),
        h("td", null, result?.risk_class || (result?.status ?? submission.state).replaceAll("_", " ")),
        resolutions.map((resolution) => h("td", null, score(result, resolution))),
        h("td", null, result?.slide ? say("outline.mm2", { n: (result.slide.tumour_area_um2 / 1e6).toFixed(2) }) : ""),
        h("td", null, index ? submission.submitted_by : ""),
        h("td", null, result?.reason || submission.reason)));
    fill(
      this.#compare,
      h("table", { class: "ol-compare" },
        h("caption", null, say("outline.side_by_side")),
        h("thead", null,
          h("tr", null, ["result", "class", ...resolutions, "area", "by", "reason"].map((name) =>
            h("th", { scope: "col" }, say(`outline.column.${name}`))))),
        h("tbody", null, rows)),
    );
  }
}
