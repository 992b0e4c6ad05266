// Drawings: the ruler of a resolution, a class's survival curve, bars over time, scores against scores. All SVG; colours
// come from the style sheets, so that dark, light and print each have theirs.

import { s } from "./dom.js";
import { percent, score, signed } from "./format.js";
import { STOPS } from "./scale.js";
import { say } from "./words.js";

const WIDTH = 440;
const CURVE_WIDTH = 380;

function titled(element, text) {
  element.prepend(s("title", null, text));
  return element;
}

/** A resolution's ruler: score, threshold and members, as the report draws it. */
export function ruler(one) {
  const x = WIDTH * one.score;
  const cut = WIDTH * one.threshold;
  const step = Math.min(9, 48 / Math.max(1, ...one.dots.map((dot) => dot.level))); // stacked dots stay in the drawing
  const values = {
    resolution: one.resolution,
    score: score(one.score),
    threshold: score(one.threshold),
    distance: signed(one.distance),
  };
  return s(
    "svg",
    { class: "ruler", viewBox: "-44 0 500 114", role: "img", "aria-label": say("slide.ruler", values) },
    s("text", { x: -44, y: 15, class: "strong" }, one.resolution),
    s("text", { x: 0, y: 15, class: "strong" }, say("slide.ruler.score", values)),
    s("text", { x: 130, y: 15 }, say("slide.ruler.threshold", values)),
    s("text", { x: 280, y: 15 }, say("slide.ruler.distance", values)),
    s("rect", { x: 0, y: 80, width: cut, height: 6, class: "below" }),
    s("rect", { x: cut, y: 80, width: WIDTH - cut, height: 6, class: "above" }),
    [0, 0.25, 0.5, 0.75, 1].map((tick) => [
      s("line", { x1: tick * WIDTH, x2: tick * WIDTH, y1: 86, y2: 91, class: "tick" }),
      s("text", { x: tick * WIDTH, y: 107, "text-anchor": "middle", class: "soft" }, tick),
    ]),
    s("line", { x1: cut, x2: cut, y1: 24, y2: 91, class: "cut" }),
    one.dots.map((dot) =>
      titled(
        s("circle", { cx: WIDTH * dot.score, cy: 74 - step * dot.level, r: 4, class: "dot" }),
        say("slide.ruler.member", { name: dot.name, score: score(dot.score) }),
      ),
    ),
    titled(
      s("path", { d: `M ${x} 75 l 7 8 l -7 8 l -7 -8 z`, class: "mean" }),
      say("slide.ruler.mean", { score: score(one.score) }),
    ),
  );
}

/** The validation cohort's curves: that of the class with its interval, the others thin. */
export function curves(found, said) {
  const at = (point) => (CURVE_WIDTH * point.year) / found.last_year;
  const up = (share) => 160 - 160 * share;
  const line = (points) => points.map((point) => `${at(point).toFixed(1)},${up(point.survival).toFixed(1)}`).join(" ");
  const own = found.points[said] ?? [];
  const last = own[own.length - 1];
  const label = last
    ? say("slide.curves.label", {
        year: last.year,
        survival: percent(last.survival, 1),
        lower: percent(last.lower, 1),
        upper: percent(last.upper, 1),
      })
    : found.title;
  return s(
    "svg",
    { class: `curves said-${said}`, viewBox: "-50 -8 506 222", role: "img", "aria-label": `${found.title}. ${label}` },
    [0, 25, 50, 75, 100].map((share) => [
      s("line", { x1: 0, x2: CURVE_WIDTH, y1: up(share / 100), y2: up(share / 100), class: "grid" }),
      s("text", { x: -8, y: up(share / 100) + 4, "text-anchor": "end", class: "soft" }, `${share} %`),
    ]),
    Object.entries(found.points)
      .filter(([name, points]) => name !== said && points.length)
      .map(([name, points]) => {
        const end = points[points.length - 1];
        return [
          s("polyline", { points: line(points), class: "other" }),
          s("text", { x: at(end) + 5, y: up(end.survival) + 4, class: "soft" }, say(`said.${name}`)),
        ];
      }),
    own.map((point) => [
      s("line", { x1: at(point), x2: at(point), y1: up(point.upper), y2: up(point.lower), class: "interval" }),
      s("circle", { cx: at(point), cy: up(point.survival), r: 3, class: "point" }),
      s("text", { x: at(point), y: 177, "text-anchor": "middle", class: "soft" }, point.year),
      s("text", { x: at(point), y: 208, "text-anchor": "middle" }, point.n_risk),
    ]),
    s("polyline", { points: line(own), class: "own" }),
    s("text", { x: 0, y: 193, class: "soft" }, say("slide.curves.years")),
  );
}

const STACK = ["done", "not_reportable", "failed"];

/** What ended in each stretch of time, one bar each; `label(bin)` is the text below some of them. */
export function bars(bins, label) {
  const most = Math.max(1, ...bins.map((bin) => STACK.reduce((sum, kind) => sum + bin[kind], 0)));
  const step = 1000 / bins.length;
  const each = Math.ceil(bins.length / 12);
  return s(
    "svg",
    { class: "bars", viewBox: "-46 -14 1056 200", role: "img", "aria-label": say("night.throughput.label") },
    [...new Set([0, Math.ceil(most / 2), most])].map((n) => [
      s("line", { x1: 0, x2: 1000, y1: 150 - (150 * n) / most, y2: 150 - (150 * n) / most, class: "grid" }),
      s("text", { x: -8, y: 154 - (150 * n) / most, "text-anchor": "end", class: "soft" }, n),
    ]),
    bins.map((bin, place) => {
      let top = 150;
      const parts = STACK.map((kind) => {
        const height = (150 * bin[kind]) / most;
        top -= height;
        return height > 0
          ? titled(
              s("rect", { x: place * step + step * 0.1, y: top, width: step * 0.8, height, class: `bar-${kind}` }),
              `${label(bin)}: ${bin[kind]} ${say(`state.${kind}`)}`,
            )
          : null;
      });
      const text = place % each === 0
        ? s("text", { x: place * step + step / 2, y: 172, "text-anchor": "middle", class: "soft" }, label(bin))
        : null;
      return [parts, text];
    }),
  );
}

/** Scores of two bundles at one resolution, one against the other. */
export function scatter(found, resolution) {
  const side = 360;
  const points = found.slides.filter((one) => resolution in one.scores && resolution in one.other_scores);
  const x = (value) => side * value;
  const y = (value) => side * (1 - value);
  const across = found.thresholds[resolution];
  const up = found.other_thresholds[resolution];
  return s(
    "svg",
    {
      class: "scatter",
      viewBox: "-66 -10 446 420",
      role: "img",
      "aria-label": say("compare.scatter.label", { resolution, n: points.length }),
    },
    s("rect", { x: 0, y: 0, width: side, height: side, class: "frame" }),
    [0, 0.25, 0.5, 0.75, 1].map((tick) => [
      s("line", { x1: x(tick), x2: x(tick), y1: side, y2: side + 5, class: "tick" }),
      s("text", { x: x(tick), y: side + 20, "text-anchor": "middle", class: "soft" }, tick),
      s("line", { x1: -5, x2: 0, y1: y(tick), y2: y(tick), class: "tick" }),
      s("text", { x: -9, y: y(tick) + 4, "text-anchor": "end", class: "soft" }, tick),
    ]),
    s("line", { x1: 0, y1: side, x2: side, y2: 0, class: "grid" }),
    s("line", { x1: x(across), x2: x(across), y1: 0, y2: side, class: "cut" }),
    s("line", { x1: 0, x2: side, y1: y(up), y2: y(up), class: "cut" }),
    points.map((one) => {
      const mine = one.scores[resolution];
      const its = one.other_scores[resolution];
      return titled(
        s("circle", {
          cx: x(mine),
          cy: y(its),
          r: 4,
          class: one.said === one.other_said ? "same" : "differs",
        }),
        `${one.slide_id}: ${score(mine)}, ${score(its)}`,
      );
    }),
    s("text", { x: side / 2, y: side + 42, "text-anchor": "middle" }, found.bundle),
    s("text", { x: -side / 2, y: -48, transform: "rotate(-90)", "text-anchor": "middle" }, found.other),
  );
}

/** The map's colours, from low to high. */
export function legend(low, high) {
  return s(
    "svg",
    { class: "legend", viewBox: "0 0 220 30", role: "img", "aria-label": say("slide.map.legend", { low, high }) },
    s(
      "defs",
      null,
      s(
        "linearGradient",
        { id: "map-colours" },
        STOPS.map((stop, place) =>
          s("stop", { offset: place / (STOPS.length - 1), "stop-color": `rgb(${stop.join(",")})` }),
        ),
      ),
    ),
    s("rect", { x: 0, y: 0, width: 220, height: 10, fill: "url(#map-colours)" }),
    s("text", { x: 0, y: 26, class: "soft" }, low),
    s("text", { x: 220, y: 26, "text-anchor": "end", class: "soft" }, high),
  );
}
