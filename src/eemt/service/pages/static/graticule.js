// A drawing of longitudes and latitudes to draw a box on, with outlines of what is known; it needs no map from elsewhere.

import { draw, make } from "./page.js";

const WIDTH = 720;
const HEIGHT = 320;
const STEPS = [30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const LEAST = 0.002; // degrees across

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const degrees = (value, positive, negative, step) => {
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  return `${Math.abs(value).toFixed(digits)}°${value > 0 ? positive : value < 0 ? negative : ""}`;
};

/** Make the drawing; `drawn` is told [west, south, east, north] of a box that was drawn. */
export function graticule(drawn) {
  // middle and height in degrees; a degree of longitude is narrower by the cosine of the latitude
  const view = { x: 0, y: 10, tall: 170 };
  let bbox = null;
  let outlines = [];
  const svg = draw("svg", { class: "graticule", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Longitudes and latitudes; drag to draw the area. The four numbers above do the same." });
  const narrow = () => Math.max(0.15, Math.cos((view.y * Math.PI) / 180));
  const scale = () => HEIGHT / view.tall;
  const toX = (longitude) => WIDTH / 2 + (longitude - view.x) * scale() * narrow();
  const toY = (latitude) => HEIGHT / 2 - (latitude - view.y) * scale();
  const toLongitude = (x) => clamp(view.x + (x - WIDTH / 2) / (scale() * narrow()), -180, 180);
  const toLatitude = (y) => clamp(view.y - (y - HEIGHT / 2) / scale(), -90, 90);

  function lines() {
    // letters keep their size where the drawing is small
    const small = WIDTH / (svg.clientWidth || WIDTH);
    const step = STEPS.findLast((one) => one * scale() * narrow() >= 72 * small) ?? 60;
    svg.style.setProperty("--letters", `${12 * small}px`);
    const parts = [];
    const texts = [];
    const [west, east] = [toLongitude(0), toLongitude(WIDTH)];
    const [south, north] = [toLatitude(HEIGHT), toLatitude(0)];
    for (let place = Math.ceil(west / step); place * step <= east + 1e-9; place += 1) {
      const x = toX(place * step);
      parts.push(`M${x.toFixed(1)} ${toY(north).toFixed(1)}V${toY(south).toFixed(1)}`);
      texts.push(draw("text", { class: "degrees", x: x + 3, y: HEIGHT - 6 }, degrees(place * step, "E", "W", step)));
    }
    for (let place = Math.ceil(south / step); place * step <= north + 1e-9; place += 1) {
      const y = toY(place * step);
      parts.push(`M${toX(west).toFixed(1)} ${y.toFixed(1)}H${toX(east).toFixed(1)}`);
      texts.push(draw("text", { class: "degrees", x: 4, y: y - 4 }, degrees(place * step, "N", "S", step)));
    }
    return [draw("path", { class: "lines", d: parts.join("") }), ...texts];
  }

  function outline(geometry) {
    const points = geometry.coordinates[0].map(([longitude, latitude]) => `${toX(longitude).toFixed(1)},${toY(latitude).toFixed(1)}`);
    return draw("polygon", { class: "outline", points: points.join(" ") });
  }

  function show() {
    svg.replaceChildren(...lines(), ...outlines.map(outline));
    if (bbox?.every(Number.isFinite)) {
      const [west, south, east, north] = bbox;
      const [x, y] = [toX(west), toY(north)];
      svg.append(draw("rect", { class: "box", x, y, width: Math.max(toX(east) - x, 1), height: Math.max(toY(south) - y, 1) }));
      // a small area on a large drawing would not be seen
      if (toX(east) - x < 6) svg.append(draw("circle", { class: "pin", cx: toX((west + east) / 2), cy: toY((south + north) / 2), r: 5 }));
    }
  }

  function zoom(factor, x = WIDTH / 2, y = HEIGHT / 2) {
    const [longitude, latitude] = [toLongitude(x), toLatitude(y)];
    view.tall = clamp(view.tall * factor, LEAST, 170);
    view.y = clamp(latitude + ((y - HEIGHT / 2) / scale()), -85, 85);
    view.x = clamp(longitude - (x - WIDTH / 2) / (scale() * narrow()), -180, 180);
    show();
  }

  function lookAt(west, south, east, north) {
    view.x = (west + east) / 2;
    view.y = clamp((south + north) / 2, -85, 85);
    view.tall = clamp(Math.max(north - south, ((east - west) * narrow() * HEIGHT) / WIDTH) * 2, LEAST, 170);
    show();
  }

  const at = (event) => {
    const place = svg.getBoundingClientRect();
    return [((event.clientX - place.left) / place.width) * WIDTH, ((event.clientY - place.top) / place.height) * HEIGHT];
  };
  let from = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    from = { point: at(event), moves: event.shiftKey, view: { ...view } };
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (!from) return;
    const [x, y] = at(event);
    if (from.moves) {
      view.x = clamp(from.view.x - (x - from.point[0]) / (scale() * narrow()), -180, 180);
      view.y = clamp(from.view.y + (y - from.point[1]) / scale(), -85, 85);
    } else if (Math.hypot(x - from.point[0], y - from.point[1]) > 4) {
      const longitudes = [toLongitude(from.point[0]), toLongitude(x)].sort((one, other) => one - other);
      const latitudes = [toLatitude(from.point[1]), toLatitude(y)].sort((one, other) => one - other);
      bbox = [longitudes[0], latitudes[0], longitudes[1], latitudes[1]];
      from.drew = true;
    }
    show();
  });
  svg.addEventListener("pointerup", () => {
    if (from?.drew) drawn(bbox);
    from = null;
  });
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.shiftKey && document.activeElement !== svg) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, ...at(event));
  }, { passive: false });

  const button = (text, name, action) => {
    const made = make("button", { type: "button", "aria-label": name }, text);
    made.addEventListener("click", action);
    return made;
  };
  show();
  new ResizeObserver(show).observe(svg);
  return {
    element: make("div", {}, svg, make("div", { class: "row" },
      button("+", "Zoom in", () => zoom(0.5, ...(bbox?.every(Number.isFinite) ? [toX((bbox[0] + bbox[2]) / 2), toY((bbox[1] + bbox[3]) / 2)] : []))),
      button("−", "Zoom out", () => zoom(2)),
      button("World", "Show the world", () => lookAt(-170, -75, 170, 75)),
      make("small", {}, "drag draws the area; with shift, drag moves and the wheel zooms"))),
    box(value) {
      bbox = value ?? null;
      if (bbox?.every(Number.isFinite) && bbox[2] > bbox[0] && bbox[3] > bbox[1]) lookAt(...bbox);
      else show();
    },
    footprints(geometries) {
      outlines = geometries.filter(Boolean);
      const points = outlines.flatMap((geometry) => geometry.coordinates[0]);
      if (points.length) {
        const [longitudes, latitudes] = [points.map(([x]) => x), points.map(([, y]) => y)];
        lookAt(Math.min(...longitudes), Math.min(...latitudes), Math.max(...longitudes), Math.max(...latitudes));
      } else show();
    },
  };
}
