// Controls of the form by the type of a setting.
// Each has: element, input (the first to type into), read() (undefined: as by default) and write(value).

import { graticule } from "./graticule.js";
import { make, size } from "./page.js";
import { uploadField } from "./upload.js";

const ACCEPT = {
  dem: ".tif,.tiff", raster: ".tif,.tiff", climate: ".csv", zones: ".geojson,.json,.gpkg", table: ".csv",
};

// values as text

function parse(text, { words = [] } = {}) {
  const plain = text.trim();
  if (plain === "") return undefined;
  if (words.includes(plain)) return plain;
  const parts = plain.split(/[\s,;]+/).filter(Boolean).map((part) => (Number.isNaN(Number(part)) ? part : Number(part)));
  return parts.length === 1 ? parts[0] : parts;
}

const written = (value) => (Array.isArray(value) ? value.join(", ") : value === null || value === undefined ? "" : String(value));

// controls

function textControl(field, id, { type = "text", read = (text) => (text.trim() === "" ? undefined : text.trim()), ...attributes } = {}) {
  const list = field.words?.length
    ? make("datalist", { id: `${id}-words` }, ...field.words.map((word) => make("option", { value: word })))
    : null;
  const input = make("input", { id, type, autocomplete: "off", list: list?.id, ...attributes });
  input.value = written(field.default);
  return {
    element: make("div", {}, input, list),
    input,
    read: () => read(input.value),
    write: (value) => {
      input.value = written(value);
    },
  };
}

function numberControl(field, id) {
  if (field.words?.length) return textControl(field, id, { read: (text) => parse(text, field) });
  return textControl(field, id, {
    type: "number",
    step: field.type === "whole" ? 1 : "any",
    min: field.minimum,
    max: field.maximum,
    read: (text) => (text.trim() === "" ? undefined : Number(text)),
  });
}

function monthlyControl(field, id, tools) {
  const text = textControl(field, id, { read: (typed) => parse(typed, field) });
  if (!field.upload) return text;
  const raster = uploadControl(field, `${id}-file`, tools);
  text.element.append(make("details", {}, make("summary", {}, "or a raster"), raster.element));
  return {
    ...text,
    read: () => raster.read() ?? text.read(),
    write: (value) => (value?.upload ? raster.write(value) : text.write(value)),
  };
}

function listControl(field, id) {
  return textControl(field, id, {
    read: (text) => {
      const value = parse(text, field);
      return value === undefined || Array.isArray(value) ? value : [value];
    },
  });
}

function booleanControl(field, id) {
  const input = make("input", { id, type: "checkbox" });
  input.checked = Boolean(field.default);
  return { element: input, input, inline: true, read: () => input.checked, write: (value) => { input.checked = Boolean(value); } };
}

function choiceControl(field, id) {
  const input = make("select", { id }, ...field.choices.map(({ value, label }) => make("option", { value }, label.replaceAll("_", " "))));
  if (field.default !== null) input.value = field.default;
  return { element: input, input, read: () => input.value, write: (value) => { input.value = value; } };
}

function choicesControl(field, id) {
  const boxes = field.choices.map(({ value, label }, place) => {
    const box = make("input", { type: "checkbox", value, id: place ? `${id}-${place}` : id });
    box.checked = (field.default ?? []).includes(value);
    return [box, make("label", {}, box, label)];
  });
  return {
    element: make("div", { class: "choices" }, ...boxes.map(([, label]) => label)),
    input: boxes[0][0],
    group: true,
    read: () => boxes.filter(([box]) => box.checked).map(([box]) => box.value),
    write: (value) => boxes.forEach(([box]) => { box.checked = value.includes(box.value); }),
  };
}

function severalControl(field, id, names) {
  const inputs = names.map((name, place) => make("input", {
    id: place ? `${id}-${place}` : id, type: "number", step: field.type === "years" ? 1 : "any", "aria-label": name,
    placeholder: name, min: field.minimum, max: field.maximum,
  }));
  const control = {
    element: make("div", { class: "several" }, ...inputs),
    input: inputs[0],
    inputs,
    group: true,
    read: () => (inputs.every((input) => input.value === "") ? undefined : inputs.map((input) => (input.value === "" ? null : Number(input.value)))),
    write: (value) => inputs.forEach((input, place) => { input.value = value?.[place] ?? ""; }),
  };
  control.write(field.default);
  return control;
}

function uploadControl(field, id, { changed, uploads }) {
  let there = null;
  const zone = uploadField({
    id, kind: field.upload, accept: ACCEPT[field.upload], label: field.label,
    changed: (upload) => {
      there = upload;
      if (upload) uploads.set(upload.id, upload);
      changed();
    },
  });
  return {
    element: zone.element,
    input: zone.input,
    read: () => (there ? { upload: there.id } : undefined),
    write: (value) => {
      there = value?.upload ? (uploads.get(value.upload) ?? { id: value.upload }) : null;
      if (there) zone.show(there);
    },
  };
}

function axesControl(field, id) {
  const rows = make("div", {});
  const keys = field.keys;
  const nameOf = (key) => key.key.split(".").pop();
  function add(name = nameOf(keys[0]), text = "") {
    const select = make("select", { "aria-label": "Key" }, ...keys.map((key) => make("option", { value: nameOf(key), selected: nameOf(key) === name }, key.label)));
    const input = make("input", { "aria-label": "Values", placeholder: "2, 3, 4 or 2..4", value: text, autocomplete: "off" });
    const away = make("button", { type: "button" }, "Remove");
    const row = make("div", { class: "row axis" }, select, input, away);
    away.addEventListener("click", () => {
      row.remove();
      rows.dispatchEvent(new Event("input", { bubbles: true }));
    });
    rows.append(row);
    return select;
  }
  const more = make("button", { type: "button", id }, "Add a parameter");
  more.addEventListener("click", () => add().focus());
  return {
    element: make("div", {}, rows, more),
    input: more,
    group: true,
    read: () => {
      const found = {};
      for (const row of rows.children) {
        const [select, input] = row.children;
        const range = /^\s*(-?[\d.]+)\s*\.\.\s*(-?[\d.]+)\s*$/.exec(input.value);
        const value = parse(input.value);
        if (range) found[select.value] = { low: Number(range[1]), high: Number(range[2]) };
        else if (value !== undefined) found[select.value] = (Array.isArray(value) ? value : [value]).map((one) => ({ true: true, false: false })[one] ?? one);
      }
      return Object.keys(found).length ? found : undefined;
    },
    write: (value) => {
      rows.replaceChildren();
      for (const [name, axis] of Object.entries(value ?? {})) add(name, Array.isArray(axis) ? axis.join(", ") : `${axis.low}..${axis.high}`);
    },
  };
}

const WORDS = {
  "3dep": ["3DEP", "United States, 10 m; fetched for the area"],
  glo30: ["Copernicus GLO-30", "the world, 30 m; fetched for the area"],
};

function elevationControl(field, id, tools) {
  const options = [["upload", ["A GeoTIFF of yours", "in metres or degrees, any size that the disk takes"]],
    ...field.words.map((word) => [word, WORDS[word] ?? [word, ""]])];
  if (tools.form.source_hosts.length) options.push(["address", ["An address", `at ${tools.form.source_hosts.join(", ")}`]]);
  const radios = options.map(([value, [title, help]], place) => {
    const radio = make("input", { type: "radio", name: id, value, id: place ? `${id}-${value}` : id, checked: place === 0 });
    return [radio, make("label", {}, radio, title, make("small", {}, help))];
  });
  const files = make("div", {});
  const about = make("div", { "aria-live": "polite" });
  const more = make("button", { type: "button" }, "Another file beside it");
  const address = make("input", { type: "url", "aria-label": "Address of the elevation model", placeholder: "https://" });
  const sent = make("div", {}, files, make("div", { class: "row" }, more), about);
  let zones = [];

  function addFile(value) {
    const place = zones.length;
    const zone = uploadControl({ ...field, upload: "dem" }, `${id}-file${place || ""}`, {
      ...tools,
      changed: () => {
        describe();
        tools.changed();
      },
    });
    zones.push(zone);
    files.append(zone.element);
    if (value) zone.write(value);
    more.hidden = !zones.every((one) => one.read());
  }

  function describe() {
    const there = zones.map((zone) => tools.uploads.get(zone.read()?.upload)).filter((upload) => upload?.header);
    about.replaceChildren(...there.map(describeElevation));
    more.hidden = !zones.every((one) => one.read());
    tools.showFootprints?.(there.map((upload) => upload.header.footprint));
    if (there[0]) tools.named?.(there[0].name);
  }

  const which = () => radios.find(([radio]) => radio.checked)[0].value;
  function turn() {
    sent.hidden = which() !== "upload";
    address.hidden = which() !== "address";
    tools.showFootprints?.(which() === "upload" ? zones.map((zone) => tools.uploads.get(zone.read()?.upload)?.header?.footprint).filter(Boolean) : []);
  }
  for (const [radio] of radios) radio.addEventListener("change", turn);
  more.addEventListener("click", () => addFile());
  addFile();
  const control = {
    element: make("div", {}, make("div", { class: "cards-choice", role: "radiogroup", "aria-label": field.label }, ...radios.map(([, label]) => label)), sent, address),
    input: radios[0][0],
    group: true,
    read: () => {
      if (which() === "address") return address.value.trim() || undefined;
      if (which() !== "upload") return which();
      const values = zones.map((zone) => zone.read()).filter(Boolean);
      return values.length > 1 ? values : values[0];
    },
    write: (value) => {
      const values = Array.isArray(value) ? value : [value];
      const kind = values[0]?.upload ? "upload" : field.words.includes(value) ? value : "address";
      const radio = radios.find(([one]) => one.value === kind)?.[0] ?? radios[0][0];
      radio.checked = true;
      if (kind === "address") address.value = written(value);
      if (kind === "upload") {
        zones = [];
        files.replaceChildren();
        values.forEach((one) => addFile(one));
        describe();
      }
      turn();
    },
  };
  turn();
  return control;
}

function describeElevation(upload) {
  const { crs, width, height, cell, bounds, range, unit } = upload.header;
  const fact = (name, text) => [make("dt", {}, name), make("dd", {}, text)];
  const [west, east] = [bounds[0], bounds[2]].map((degrees) => `${Math.abs(degrees).toFixed(4)}° ${degrees < 0 ? "W" : "E"}`);
  const [south, north] = [bounds[1], bounds[3]].map((degrees) => `${Math.abs(degrees).toFixed(4)}° ${degrees < 0 ? "S" : "N"}`);
  return make("div", { class: "beside" },
    make("img", { class: "picture", src: upload.hillshade, alt: `Hillshade of ${upload.name}` }),
    make("dl", { class: "facts" },
      ...fact("File", `${upload.name}, ${size(upload.size)}`),
      ...fact("Cells", `${height} × ${width}`),
      ...fact("Cell", `${Number(cell[0].toPrecision(6))} × ${Number(cell[1].toPrecision(6))} ${unit}`),
      ...fact("Coordinates", crs),
      ...(range ? fact("Elevation", `${Math.round(range[0])} to ${Math.round(range[1])}`) : []),
      ...fact("Footprint", `${west} to ${east}, ${south} to ${north}`)));
}

function areaControl(field, id, tools) {
  const four = severalControl(field, id, field.names);
  const drawing = graticule((bbox) => {
    four.write(bbox.map((degrees) => Number(degrees.toFixed(5))));
    tools.changed();
  });
  four.element.addEventListener("input", () => drawing.box(four.read()));
  tools.showFootprints = drawing.footprints;
  return {
    ...four,
    element: make("div", {}, four.element, drawing.element),
    wide: true,
    write: (value) => {
      four.write(value);
      drawing.box(value);
    },
  };
}

export const CONTROLS = {
  number: numberControl,
  whole: numberControl,
  monthly: monthlyControl,
  boolean: booleanControl,
  choice: choiceControl,
  choices: choicesControl,
  list: listControl,
  years: (field, id) => severalControl(field, id, ["first", "last"]),
  pair: (field, id) => severalControl(field, id, ["least", "greatest"]),
  text: (field, id) => textControl(field, id, { maxlength: field.longest, pattern: field.pattern }),
  upload: uploadControl,
  axes: axesControl,
  bbox: areaControl,
  elevation: elevationControl,
};
