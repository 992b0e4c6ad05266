// The slide's picture with the controls around it: the viewer where there is one, else the report's own map.

import { api } from "./api.js";
import { legend } from "./charts.js";
import { fill, h } from "./dom.js";
import { say } from "./words.js";

const OPACITY = 55;

/** Put it into a place; `outline()` gives the panel for corrections, `changed` is called after one. */
export function picture(place, { submission, bundle, still, caption, me, outline, changed }) {
  let viewer = null;
  let panel = null;
  let gone = false;
  let map = null; // which map is shown

  const area = h("div", { class: "viewer no-print" });
  const controls = h("div", { class: "controls no-print" });
  const trouble = h("p", { class: "note no-print", role: "status" });
  const stillImage = still && h("img", { class: "still", src: still, alt: say("slide.picture.alt") });
  const figure =
    still &&
    h("figure", { class: "print-only" }, stillImage, h("figcaption", { class: "note" }, say("slide.picture.still")));
  fill(
    place,
    h("h2", null, say("slide.picture")),
    controls,
    area,
    trouble,
    still && h("p", { class: "note no-print" }, caption),
    figure,
  );

  function withoutViewer(text) {
    area.remove();
    controls.remove();
    trouble.textContent = still ? `${text} ${say("slide.picture.instead")}` : text;
    if (figure) figure.classList.remove("print-only");
  }

  const shown = (error) => {
    trouble.textContent = error.message;
  };

  async function open() {
    let opened;
    trouble.textContent = say("app.loading");
    try {
      const { openViewer } = await import("./viewer.js");
      opened = await openViewer(area, { submission, bundle, api, say });
    } catch (error) {
      if (gone) return;
      withoutViewer(error instanceof TypeError ? say("viewer.absent") : error.message);
      await openOutline();
      return;
    }
    if (gone) {
      opened.destroy();
      return;
    }
    viewer = opened;
    trouble.textContent = viewer.description?.note ?? "";
    if (viewer.overlays?.maps?.length) drawControls(viewer.overlays);
    await openOutline();
  }

  async function openOutline() {
    const where = outline();
    if (!where) return;
    try {
      const { mountOutline } = await import("./outline.js");
      if (!gone) panel = await mountOutline(where, { submission, bundle, viewer, me, api, say, changed });
    } catch (error) {
      if (!(error instanceof TypeError)) shown(error); // a TypeError: there is no such module
    }
  }

  function drawControls(overlays) {
    const smooth = h("input", { type: "checkbox", on: { change: apply } });
    const opacity = h("input", { type: "range", min: 0, max: 100, step: 5, value: OPACITY, on: { input: apply } });
    const bar = h("div", { class: "legend-place" });
    const choices = [null, ...overlays.maps].map((one, at) =>
      h(
        "label",
        { class: "check" },
        h("input", {
          type: "radio",
          name: "map",
          checked: at === 1,
          on: {
            change: () => {
              map = one;
              apply();
            },
          },
        }),
        h("span", null, one ? say(`slide.map.${one.measure}`, one) : say("slide.map.none")),
      ),
    );
    map = overlays.maps[0];

    function apply() {
      const how = { smooth: smooth.checked, opacity: Number(opacity.value) / 100, measure: map?.measure };
      Promise.resolve(viewer.setMap(map && { resolution: map.resolution }, how)).catch(shown);
      fill(bar, map && legend(map.low ?? "0", map.high ?? "1"));
    }

    const parts = [
      h("fieldset", null, h("legend", null, say("slide.map")), choices),
      h("label", { class: "check" }, smooth, h("span", null, say("slide.map.smooth"))),
      h("label", { class: "range" }, h("span", null, say("slide.map.opacity")), opacity),
    ];
    if (overlays.outline) parts.push(outlineBox());
    fill(controls, parts, bar);
    apply();
  }

  function outlineBox() {
    const box = h("input", { type: "checkbox", checked: true });
    let geometry = null;
    const apply = async () => {
      try {
        const query = bundle ? `?bundle=${encodeURIComponent(bundle)}` : "";
        geometry ??= await api(`/v1/submissions/${encodeURIComponent(submission)}/files/tumour.geojson${query}`);
        if (!gone) await viewer.setOutline(geometry, box.checked);
      } catch (error) {
        shown(error);
      }
    };
    box.addEventListener("change", apply);
    apply();
    return h("label", { class: "check" }, box, h("span", null, say("slide.map.outline")));
  }

  open();
  return {
    jumpTo(tile) {
      if (!viewer) return;
      viewer.jumpTo(tile);
      area.scrollIntoView({ block: "nearest" });
    },
    destroy() {
      gone = true;
      panel?.destroy();
      viewer?.destroy();
    },
  };
}
