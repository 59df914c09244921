// A job's maps: which is shown, where, and what the cell under the pointer has. BokehJS draws the tiles.

import { get } from "./api.js";
import { draw, make, pretty, shown, tell } from "./page.js";

const RADIUS = 6378137; // m, of web mercator
const PACE = 120; // ms between two questions for a value
const STEP = 0.15; // of the view that an arrow key moves
const ZOOM = 1.6;
const NOTHING = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"; // a transparent pixel

const element = document.getElementById("map");
const controls = document.getElementById("controls");
const value = document.getElementById("value");
const told = document.getElementById("told");
const legend = document.getElementById("legend");
const { job } = controls.dataset;

const toMercator = (longitude, latitude) => [
  RADIUS * longitude * (Math.PI / 180),
  RADIUS * Math.log(Math.tan(Math.PI / 4 + (latitude * Math.PI) / 360)),
];
const toDegrees = (x, y) => [
  (x / RADIUS) * (180 / Math.PI),
  (2 * Math.atan(Math.exp(y / RADIUS)) - Math.PI / 2) * (180 / Math.PI),
];

// which map is shown

const maps = [];
const chosen = { variable: null, method: null, year: null, case: "", band: 1, opacity: 0.75 };
const PARTS = [["variable", "Map"], ["method", "Method"], ["year", "Year"], ["case", "Case"]];
const selects = {};

const label = {
  variable: (name) => maps.find((map) => map.variable === name).title.split(", method")[0],
  method: (name) => name.toUpperCase(),
  year: (name) => ({ mean: "mean of all", sd: "standard deviation", trend: "trend", trend_p: "p of the trend" })[name] ?? name,
  case: (name) => name || "as set",
};

/** Return the maps that fit the choices up to a part. */
function fitting(until) {
  return maps.filter((map) => PARTS.slice(0, PARTS.findIndex(([part]) => part === until))
    .every(([part]) => (map[part] ?? "") === (chosen[part] ?? "")));
}

const current = () => maps.find((map) => PARTS.every(([part]) => (map[part] ?? "") === (chosen[part] ?? "")));

function choose() {
  for (const [part] of PARTS) {
    const there = [...new Set(fitting(part).map((map) => map[part] ?? ""))];
    if (!there.includes(chosen[part] ?? "")) chosen[part] = there[0];
    const select = selects[part];
    select.replaceChildren(...there.map((name) => make("option", { value: name, selected: name === chosen[part] }, name === "" && part !== "case" ? "–" : label[part](name))));
    select.parentElement.hidden = there.length < 2 && (part !== "variable");
  }
  const map = current();
  if (!map.bands.some((band) => band.number === chosen.band)) chosen.band = 1;
  selects.band.replaceChildren(...map.bands.map((band) => make("option", { value: band.number, selected: band.number === chosen.band }, band.label)));
  selects.band.parentElement.hidden = map.bands.length < 2;
  show(map);
}

function buildControls() {
  for (const [part, name] of [...PARTS, ["band", "Month"]]) {
    selects[part] = make("select", { id: part });
    selects[part].addEventListener("change", () => {
      chosen[part] = part === "band" ? Number(selects[part].value) : selects[part].value;
      choose();
    });
    controls.append(make("div", {}, make("label", { for: part }, name), selects[part]));
  }
  const range = make("input", { id: "opacity", type: "range", min: 0, max: 100, value: 100 * chosen.opacity });
  range.addEventListener("input", () => {
    chosen.opacity = range.value / 100;
    layers.map.alpha = chosen.opacity;
  });
  controls.append(make("div", {}, make("label", { for: "opacity" }, "Over the hillshade"), range));
  controls.addEventListener("submit", (event) => event.preventDefault());
}

const addressOf = (map, band) => `${map.tiles.replace("{z}", "{Z}").replace("{x}", "{X}").replace("{y}", "{Y}")}?band=${band}`;

/** Ask for no tiles beyond a map's edge: BokehJS looks far around itself. */
function within(source, bounds) {
  const [west, south, east, north] = bounds;
  const across = (longitude, z) => ((longitude + 180) / 360) * 2 ** z;
  const down = (latitude, z) => ((1 - toMercator(0, latitude)[1] / (Math.PI * RADIUS)) / 2) * 2 ** z;
  const address = Object.getPrototypeOf(source).get_image_url;
  source.get_image_url = (x, fromSouth, z) => {
    const y = 2 ** z - 1 - fromSouth;
    const inside = x + 1 > across(west, z) && x < across(east, z) && y + 1 > down(north, z) && y < down(south, z);
    return inside ? address.call(source, x, fromSouth, z) : NOTHING;
  };
}

function show(map) {
  const { source } = layers;
  const address = addressOf(map, chosen.band);
  if (source.map.url !== address) {
    source.map.max_zoom = map.max_zoom;
    within(source.map, map.bounds);
    source.map.url = address;
  }
  showLegend(map);
  ask(...(last ?? middle()));
  history.replaceState(null, "", `#${new URLSearchParams({ map: map.name, band: chosen.band })}`);
}

async function showLegend(map) {
  const band = map.bands.find((one) => one.number === chosen.band);
  const found = await get(`/jobs/${job}/maps/${encodeURIComponent(map.name)}/legend?band=${band.number}`);
  if (map !== current() || band.number !== chosen.band) return;
  const span = found.high - found.low || 1;
  const gradient = draw("linearGradient", { id: "ramp" }, ...found.stops.map((stop) =>
    draw("stop", { offset: (stop.value - found.low) / span, "stop-color": stop.colour })));
  legend.replaceChildren(
    draw("svg", { viewBox: "0 0 100 5", preserveAspectRatio: "none", role: "img", "aria-label": `Colours from ${shown(found.low)} to ${shown(found.high)} ${pretty(found.unit)}` },
      draw("defs", {}, gradient), draw("rect", { width: 100, height: 5, fill: "url(#ramp)" })),
    make("div", { class: "ends" }, make("span", {}, shown(found.low)), make("span", {}, shown(found.high))),
    make("p", {}, [map.title, map.bands.length > 1 ? band.label : "", found.unit && `[${pretty(found.unit)}]`].filter(Boolean).join(" ")));
}

// the figure

let figure = null;
const layers = { source: {} };

/** Show all of a map, with equal scales across and up. */
function fit() {
  const [west, south, east, north] = (current() ?? maps[0]).bounds;
  const [left, bottom] = toMercator(west, south);
  const [right, top] = toMercator(east, north);
  look((left + right) / 2, (bottom + top) / 2, Math.max((right - left) / frame().width, (top - bottom) / frame().height) * 1.06);
}

/** Look at a place with a resolution [m per pixel]. */
function look(x, y, resolution) {
  const { width, height } = frame();
  figure.x_range.setv({ start: x - (width * resolution) / 2, end: x + (width * resolution) / 2 });
  figure.y_range.setv({ start: y - (height * resolution) / 2, end: y + (height * resolution) / 2 });
}

let view = null;
const frame = () => {
  const { width, height } = view.frame.bbox;
  return { width: Math.max(width, 1), height: Math.max(height, 1) };
};
const middle = () => [(figure.x_range.start + figure.x_range.end) / 2, (figure.y_range.start + figure.y_range.end) / 2];
const resolution = () => (figure.x_range.end - figure.x_range.start) / frame().width;

async function buildFigure() {
  const item = JSON.parse(document.getElementById("figure").textContent);
  const views = await Bokeh.embed.embed_item(item, "map");
  view = [...views][0];
  figure = view.model;
  for (const renderer of figure.renderers) {
    layers[renderer.name] = renderer;
    layers.source[renderer.name] = renderer.tile_source;
  }
  layers.map.alpha = chosen.opacity;
  colour();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", colour);
  figure.on_event("mousemove", (event) => pointed(event.x, event.y));
  figure.on_event("tap", (event) => pointed(event.x, event.y));
  figure.on_event("mouseleave", () => {
    last = null;
  });
  // scales stay equal when the window is another
  new ResizeObserver(() => {
    const [x, y] = middle();
    const before = resolution();
    requestAnimationFrame(() => look(x, y, before));
  }).observe(element);
}

/** Take the page's colours. */
function colour() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  for (const axis of [...figure.below, ...figure.left]) {
    axis.setv({ major_label_text_color: of("--soft"), axis_line_color: of("--edge"), major_tick_line_color: of("--edge"), minor_tick_line_color: of("--line") });
  }
  for (const grid of figure.center) grid.setv({ grid_line_color: of("--line"), grid_line_alpha: 0.5 });
}

// the value under the pointer

let last = null;
let asking = null;
let waiting = null;
let answered = 0;

function pointed(x, y) {
  last = [x, y];
  ask(x, y);
}

/** Ask for a value, at most every so often; the last question is always answered. */
function ask(x, y) {
  waiting = [x, y];
  value.setAttribute("aria-busy", "true");
  if (asking) return;
  asking = setTimeout(async () => {
    const place = waiting;
    waiting = null;
    try {
      await answer(...place);
    } finally {
      asking = null;
      if (waiting) ask(...waiting);
      else value.removeAttribute("aria-busy");
    }
  }, Math.max(0, PACE - (performance.now() - answered)));
}

async function answer(x, y) {
  const map = current();
  const { band } = chosen;
  const [longitude, latitude] = toDegrees(x, y);
  if (Math.abs(longitude) > 180 || Math.abs(latitude) > 90) return;
  const place = `${Math.abs(latitude).toFixed(5)}° ${latitude < 0 ? "S" : "N"}, ${Math.abs(longitude).toFixed(5)}° ${longitude < 0 ? "W" : "E"}`;
  try {
    const query = new URLSearchParams({ longitude, latitude, band });
    const cell = await get(`/jobs/${job}/maps/${encodeURIComponent(map.name)}/value?${query}`);
    if (map !== current() || band !== chosen.band) return;
    const text = cell.row === null ? "beyond the map" : cell.value === null ? "no value" : `${shown(cell.value)} ${pretty(cell.unit)}`;
    value.replaceChildren(make("strong", {}, text), make("span", { class: "soft" }, ` at ${place}`));
    Object.assign(value.dataset, { value: cell.value ?? "", row: cell.row ?? "", col: cell.col ?? "", band, map: map.name });
  } catch (error) {
    value.textContent = error.message;
  } finally {
    answered = performance.now();
  }
}

// keys

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

element.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !figure) return;
  const [x, y] = middle();
  const { width, height } = frame();
  const now = resolution();
  if (MOVES[event.key]) {
    const [across, up] = MOVES[event.key];
    look(x + across * STEP * width * now, y + up * STEP * height * now, now);
  } else if (event.key === "+" || event.key === "=") look(x, y, now / ZOOM);
  else if (event.key === "-") look(x, y, now * ZOOM);
  else if (event.key === "0") fit();
  else return;
  event.preventDefault();
  last = null;
  ask(...middle());
});

async function start() {
  const { items } = await get(`/jobs/${job}/maps`);
  maps.push(...items.filter((map) => map.variable !== "hillshade"));
  if (!maps.length) return tell(told, "There are no maps yet.", true);
  const asked = new URLSearchParams(location.hash.slice(1));
  const first = maps.find((map) => map.name === asked.get("map")) ?? maps[0];
  for (const [part] of PARTS) chosen[part] = first[part] ?? "";
  chosen.band = Number(asked.get("band")) || 1;
  await buildFigure();
  buildControls();
  const hillshade = items.find((map) => map.variable === "hillshade");
  if (hillshade) {
    layers.source.hillshade.max_zoom = hillshade.max_zoom;
    within(layers.source.hillshade, hillshade.bounds);
    layers.source.hillshade.url = addressOf(hillshade, 1);
  }
  fit();
  choose();
  element.dataset.ready = "";
}

start().catch((error) => tell(told, error.message, true));
