// A slide's picture by OpenSeadragon, with a scale bar and keys; the map of tile values, the outline, a framed tile and
// drawn areas lie on a canvas above it. All coordinates are level-0 pixels.

import { address, submissionPath } from "./api.js";
import { fill, h } from "./dom.js";

const SCRIPT = "/page/openseadragon/openseadragon.min.js";
const PICTURES = "/page/openseadragon/images/";
const BAR_PX = 160; // the longest scale bar
const STEP = 0.15; // share of the view that an arrow key moves it, five times as much with the shift key
const ZOOM = 1.4;
const NEAR_PX = 10; // a click so near to the first corner closes an area
const TRAIL_PX = 4; // between two points of a line that is drawn without lifting
const MARGIN = 2.5; // of a tile's own width around it, if it is jumped to
const MOST_MAGNIFIED = 8; // screen px for one level-0 px

let loading = null;

/** OpenSeadragon, loaded once; null where it is not installed. */
function openSeadragon() {
  if (window.OpenSeadragon) return Promise.resolve(window.OpenSeadragon);
  loading ??= new Promise((resolve) => {
    // It would add a style of its own, which the page's policy bars; this element, which is none, it takes for that.
    const mark = document.createElementNS(null, "style");
    mark.setAttribute("data-openseadragon-mobile-css", "true");
    document.head.append(mark);
    const script = document.createElement("script");
    script.src = SCRIPT;
    script.addEventListener("load", () => resolve(window.OpenSeadragon ?? null));
    script.addEventListener("error", () => {
      script.remove();
      loading = null; // it may be set up meanwhile
      resolve(null);
    });
    document.head.append(script);
  });
  return loading;
}

/** The longest round length, in um, whose bar is no longer than `most` px: 1, 2 or 5 times a power of ten. */
export function barLength(umPerPx, most = BAR_PX) {
  const longest = umPerPx * most;
  const power = 10 ** Math.floor(Math.log10(longest));
  const times = [5, 2, 1].find((one) => one * power <= longest) ?? 1;
  return times * power;
}

/** A length in words: um below a millimetre, mm from there. */
export function lengthText(um, say) {
  return um < 1000 ? say("viewer.um", { n: um }) : say("viewer.mm", { n: um / 1000 });
}

/** Rings of all polygons of GeoJSON, each a list of [x, y]. */
export function ringsOf(geojson) {
  const rings = [];
  const take = (geometry) => {
    if (!geometry) return;
    if (geometry.type === "Polygon") rings.push(...geometry.coordinates);
    else if (geometry.type === "MultiPolygon") rings.push(...geometry.coordinates.flat());
    else if (geometry.type === "GeometryCollection") geometry.geometries.forEach(take);
  };
  if (geojson?.type === "FeatureCollection") geojson.features.forEach((feature) => take(feature.geometry));
  else if (geojson?.type === "Feature") take(geojson.geometry);
  else take(geojson);
  return rings;
}

function pathOf(rings) {
  const path = new Path2D();
  for (const ring of rings) {
    ring.forEach(([x, y], index) => (index ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
}

/** Open the viewer in an element; rejects with a sentence where the slide cannot be shown. */
export async function openViewer(element, { submission, bundle = "", api, say }) {
  const path = submissionPath(submission, "view");
  const description = await api(path);
  const OpenSeadragon = await openSeadragon();
  if (!OpenSeadragon) throw new Error(say("viewer.absent"));
  let overlays = null;
  let withheld = "";
  try {
    overlays = await api(address(`${path}/overlays`, { bundle }));
  } catch (error) {
    withheld = error.message;
  }
  const shown = new ShownSlide(OpenSeadragon, element, { path, bundle, description, overlays, withheld, say });
  await shown.opened;
  return shown;
}

/** The viewer, see openViewer. */
class ShownSlide {
  #viewer;
  #image = null;
  #canvas;
  #bar;
  #status;
  #say;
  #path;
  #bundle;
  #withheld;
  #listeners = [];
  #moved = new Set();
  #maps = new Map();
  #map = null; // {bitmap, place, smooth, opacity}
  #wanted = 0;
  #outline = null; // Path2D
  #frame = null;
  #edits = [];
  #drawing = null; // {kind, points, done, pressed}
  #due = false;

  constructor(OpenSeadragon, element, { path, bundle, description, overlays, withheld, say }) {
    Object.assign(this, { element, description, overlays });
    this.#path = path;
    this.#bundle = bundle;
    this.#withheld = withheld;
    this.#say = say;
    this.#canvas = h("canvas", { class: "vw-canvas", "aria-hidden": "true" });
    this.#bar = h("div", { class: "vw-bar", "aria-hidden": "true" });
    this.#status = h("p", { class: "vw-status", role: "status" });
    const picture = h("div", { class: "vw-picture" });
    fill(element, picture, this.#canvas, this.#bar, this.#status);
    element.classList.add("vw-viewer");
    for (const [name, value] of Object.entries({
      role: "application",
      tabindex: "0",
      "aria-label": say("viewer.label"),
      "aria-roledescription": say("viewer.kind"),
    })) {
      element.setAttribute(name, value);
    }
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#viewer = new OpenSeadragon.Viewer({
      element: picture,
      prefixUrl: PICTURES,
      drawer: "canvas",
      showNavigationControl: false,
      keyboardNavEnabled: false,
      tabIndex: "-1",
      animationTime: still ? 0 : 0.5,
      maxZoomPixelRatio: MOST_MAGNIFIED,
      visibilityRatio: 0.3,
      imageLoaderLimit: 6, // as many connections as a browser opens
      tileRetryMax: 4, // a busy service says when to come again
      tileRetryDelay: 1500,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      tileSources: {
        width: description.width,
        height: description.height,
        tileSize: description.tile_size,
        tileOverlap: description.overlap,
        minLevel: description.min_level,
        maxLevel: description.max_level,
        getTileUrl: (level, column, row) => `${path}/${level}/${column}_${row}.${description.format}`,
      },
    });
    this.OpenSeadragon = OpenSeadragon;
    this.opened = new Promise((resolve, reject) => {
      this.#viewer.addOnceHandler("open", () => {
        this.#image = this.#viewer.world.getItemAt(0);
        this.#begin();
        resolve();
      });
      this.#viewer.addOnceHandler("open-failed", () => reject(new Error(say("viewer.failed"))));
    });
    this.#viewer.addHandler("update-viewport", () => this.#soon());
    this.#viewer.addHandler("resize", () => this.#soon());
    this.#viewer.addHandler("tile-load-failed", () => this.#tell(say("viewer.tiles_failed")));
    this.#on(element, "keydown", (event) => this.#key(event));
    for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel", "dblclick", "wheel"]) {
      this.#on(this.#canvas, name, (event) => this.#pointer(event));
    }
  }

  /** Lay a map over the slide: `{resolution}` of it, or null for none. */
  async setMap(tiles, { smooth = false, opacity = 0.6, measure = "score" } = {}) {
    const asked = (this.#wanted += 1);
    if (tiles === null) {
      this.#map = null;
      this.#soon();
      return;
    }
    if (this.overlays === null) throw new Error(this.#withheld);
    const place = this.overlays.maps.find((one) => one.resolution === tiles.resolution && one.measure === measure);
    if (!place) throw new Error(this.#say("viewer.no_map"));
    const name = `${place.resolution}/${place.measure}`;
    if (!this.#maps.has(name)) {
      const answer = await fetch(address(`${this.#path}/maps/${name}.png`, { bundle: this.#bundle }), {
        credentials: "same-origin",
        cache: "no-store",
      });
      if (!answer.ok) throw new Error(this.#say("viewer.no_map"));
      this.#maps.set(name, await createImageBitmap(await answer.blob()));
    }
    if (asked !== this.#wanted) return; // another was asked for meanwhile
    this.#map = { bitmap: this.#maps.get(name), place, smooth, opacity };
    this.#soon();
  }

  /** Draw an outline, GeoJSON, or none. */
  setOutline(geojson, shown = true) {
    this.#outline = geojson && shown ? pathOf(ringsOf(geojson)) : null;
    this.#soon();
  }

  /** Show a tile in the middle, framed. */
  jumpTo({ x0, y0, width0, height0 }) {
    this.#frame = { x0, y0, width0, height0 };
    const [x, y] = [x0 - width0 * MARGIN, y0 - height0 * MARGIN];
    const side = 2 * MARGIN + 1;
    const box = new this.OpenSeadragon.Rect(x, y, width0 * side, height0 * side);
    this.#viewer.viewport.fitBounds(this.#image.imageToViewportRectangle(box));
    this.#tell(this.#say("viewer.jumped", { x: Math.round(x0), y: Math.round(y0) }));
    this.#soon();
  }

  /** Have each move of the view told: {x0, y0, width0, height0, mpp}, um per screen px. */
  onMove(callback) {
    this.#moved.add(callback);
    return () => this.#moved.delete(callback);
  }

  zoomIn() {
    this.#zoom(ZOOM);
  }

  zoomOut() {
    this.#zoom(1 / ZOOM);
  }

  /** The whole slide, or as much of it as can be shown. */
  home() {
    this.#viewer.viewport.goHome();
    this.#viewer.viewport.applyConstraints();
  }

  /** Let an area be drawn, `kind` "add" or "subtract"; `done` gets its corners, or null if it was given up. */
  draw({ kind, done }) {
    this.stopDrawing();
    this.#drawing = { kind, done, points: [], pressed: false };
    this.#canvas.classList.add("vw-drawing");
    this.element.focus();
    this.#tell(this.#say("viewer.drawing"));
    this.#soon();
  }

  /** Give up what is being drawn. */
  stopDrawing() {
    this.#finish(null);
  }

  /** Show areas that were drawn: [{kind, ring}]. */
  showEdits(edits) {
    this.#edits = edits.map(({ kind, ring }) => ({ kind, path: pathOf([ring]) }));
    this.#soon();
  }

  destroy() {
    for (const [target, name, listener] of this.#listeners) target.removeEventListener(name, listener);
    this.#moved.clear();
    for (const bitmap of this.#maps.values()) bitmap.close();
    this.#viewer.destroy();
    this.element.replaceChildren();
    for (const name of ["role", "tabindex", "aria-label", "aria-roledescription"]) this.element.removeAttribute(name);
  }

  #on(target, name, listener) {
    target.addEventListener(name, listener, { passive: false });
    this.#listeners.push([target, name, listener]);
  }

  #tell(text) {
    if (this.#status.textContent !== text) this.#status.textContent = text;
  }

  /** Where a file has no coarse levels, the view stays near enough for those that it has. */
  #begin() {
    const { min_level: least, max_level: most, note } = this.description;
    if (note) {
      const viewport = this.#viewer.viewport;
      viewport.minZoomLevel = this.#image.imageToViewportZoom(1 / 2 ** (most - least));
      viewport.zoomTo(viewport.minZoomLevel, null, true);
      this.#tell(note);
    }
    this.#soon();
  }

  #zoom(factor, centre = null) {
    this.#viewer.viewport.zoomBy(factor, centre);
    this.#viewer.viewport.applyConstraints();
  }

  #soon() {
    if (this.#due || !this.#image) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      if (this.#canvas.isConnected) this.#paint();
    });
  }

  /** Where the slide lies on the element: px of its corner, and screen px for one level-0 px. */
  #place() {
    const { Point } = this.OpenSeadragon;
    const zero = this.#image.imageToViewerElementCoordinates(new Point(0, 0));
    const far = this.#image.imageToViewerElementCoordinates(new Point(this.description.width, 0));
    return { left: zero.x, top: zero.y, scale: (far.x - zero.x) / this.description.width };
  }

  #paint() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const sharp = window.devicePixelRatio || 1;
    const canvas = this.#canvas;
    const [w, hgt] = [Math.round(width * sharp), Math.round(height * sharp)];
    if (canvas.width !== w || canvas.height !== hgt) Object.assign(canvas, { width: w, height: hgt });
    const { left, top, scale } = this.#place();
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, w, hgt);
    context.setTransform(sharp * scale, 0, 0, sharp * scale, sharp * left, sharp * top);
    if (this.#map) {
      const { bitmap, place, smooth, opacity } = this.#map;
      context.globalAlpha = opacity;
      context.imageSmoothingEnabled = smooth;
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, place.x0, place.y0, place.columns * place.step_x, place.rows * place.step_y);
      context.globalAlpha = 1;
    }
    const px = 1 / scale;
    if (this.#outline) line(context, this.#outline, px, "#111111");
    for (const { kind, path } of this.#edits) area(context, path, px, kind);
    if (this.#frame) {
      const { x0, y0, width0, height0 } = this.#frame;
      const path = new Path2D();
      path.rect(x0, y0, width0, height0);
      line(context, path, px, "#7a00a8");
    }
    if (this.#drawing) this.#paintDrawing(context, px);
    this.#paintBar(scale);
    const seen = { x0: -left / scale, y0: -top / scale, width0: width / scale, height0: height / scale };
    const mpp = this.description.mpp_x === null ? null : this.description.mpp_x / scale;
    for (const callback of this.#moved) callback({ ...seen, mpp });
  }

  #paintDrawing(context, px) {
    const { points, kind } = this.#drawing;
    if (points.length) area(context, pathOf([points]), px, kind);
    context.fillStyle = "#ffffff";
    context.strokeStyle = "#111111";
    context.lineWidth = px;
    for (const [x, y] of points.length > 200 ? points.slice(0, 1) : points) {
      context.fillRect(x - 3 * px, y - 3 * px, 6 * px, 6 * px);
      context.strokeRect(x - 3 * px, y - 3 * px, 6 * px, 6 * px);
    }
    const [x, y] = this.#middle();
    const cross = new Path2D();
    for (const [dx, dy] of [[1, 0], [0, 1]]) {
      cross.moveTo(x - 9 * px * dx, y - 9 * px * dy);
      cross.lineTo(x + 9 * px * dx, y + 9 * px * dy);
    }
    line(context, cross, px, "#111111");
  }

  #paintBar(scale) {
    if (this.description.mpp_x === null) {
      this.#bar.textContent = this.#say("viewer.no_scale");
      return;
    }
    const umPerPx = this.description.mpp_x / scale;
    const um = barLength(umPerPx);
    this.#bar.style.width = `${um / umPerPx}px`;
    this.#bar.textContent = lengthText(um, this.#say);
  }

  #middle() {
    const { left, top, scale } = this.#place();
    return [(this.element.clientWidth / 2 - left) / scale, (this.element.clientHeight / 2 - top) / scale];
  }

  #at(event) {
    const box = this.#canvas.getBoundingClientRect();
    const { left, top, scale } = this.#place();
    return [(event.clientX - box.left - left) / scale, (event.clientY - box.top - top) / scale];
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target !== this.element) return;
    const viewport = this.#viewer.viewport;
    const { width, height } = viewport.getBounds();
    const share = event.shiftKey ? 5 * STEP : STEP;
    const move = (x, y) => {
      viewport.panBy(new this.OpenSeadragon.Point(x * width * share, y * height * share));
      viewport.applyConstraints();
    };
    const keys = {
      ArrowLeft: () => move(-1, 0),
      ArrowRight: () => move(1, 0),
      ArrowUp: () => move(0, -1),
      ArrowDown: () => move(0, 1),
      "+": () => this.zoomIn(),
      "=": () => this.zoomIn(),
      "-": () => this.zoomOut(),
      0: () => this.home(),
      Home: () => this.home(),
    };
    if (this.#drawing) {
      Object.assign(keys, {
        " ": () => this.#corner(this.#middle()),
        Enter: () => this.#finish(this.#drawing.points),
        Backspace: () => this.#drawing.points.pop(),
        Escape: () => this.stopDrawing(),
      });
    }
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
    this.#soon();
  }

  #pointer(event) {
    const drawing = this.#drawing;
    if (!drawing) return;
    event.preventDefault();
    if (event.type === "wheel") {
      const { Point } = this.OpenSeadragon;
      const box = this.#canvas.getBoundingClientRect();
      const centre = new Point(event.clientX - box.left, event.clientY - box.top);
      this.#zoom(event.deltaY < 0 ? ZOOM : 1 / ZOOM, this.#viewer.viewport.viewerElementToViewportCoordinates(centre));
    } else if (event.type === "dblclick") {
      this.#finish(drawing.points);
    } else if (event.type === "pointerdown" && event.button === 0) {
      this.element.focus();
      this.#canvas.setPointerCapture(event.pointerId);
      const near = drawing.points.length > 2 && this.#apart(drawing.points[0], this.#at(event)) < NEAR_PX;
      if (near) return this.#finish(drawing.points);
      drawing.pressed = true;
      this.#corner(this.#at(event));
    } else if (event.type === "pointermove" && drawing.pressed) {
      const at = this.#at(event);
      if (this.#apart(drawing.points.at(-1), at) >= TRAIL_PX) this.#corner(at);
    } else if (event.type === "pointerup" || event.type === "pointercancel") {
      drawing.pressed = false;
    }
    this.#soon();
    return undefined;
  }

  /** Screen px between two points. */
  #apart([x, y], [x2, y2]) {
    return Math.hypot(x - x2, y - y2) * this.#place().scale;
  }

  #corner([x, y]) {
    const { width, height } = this.description;
    this.#drawing.points.push([Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)]);
  }

  #finish(points) {
    const drawing = this.#drawing;
    if (!drawing) return;
    this.#drawing = null;
    this.#canvas.classList.remove("vw-drawing");
    const whole = points && points.length > 2 ? points.map(([x, y]) => [Math.round(x), Math.round(y)]) : null;
    this.#tell("");
    this.#soon();
    drawing.done(whole);
  }
}

/** A line that shows on dark and on light. */
function line(context, path, px, colour) {
  context.lineWidth = 4 * px;
  context.strokeStyle = "#ffffff";
  context.stroke(path);
  context.lineWidth = 2 * px;
  context.strokeStyle = colour;
  context.stroke(path);
}

/** A drawn area: what is added is whole, what is cut out is dashed. */
function area(context, path, px, kind) {
  context.fillStyle = kind === "add" ? "rgba(0, 90, 181, 0.25)" : "rgba(220, 50, 32, 0.25)";
  context.fill(path);
  context.setLineDash(kind === "add" ? [] : [6 * px, 4 * px]);
  line(context, path, px, kind === "add" ? "#005ab5" : "#dc3220");
  context.setLineDash([]);
}
