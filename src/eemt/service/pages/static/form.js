// The form of a job, made wholly from what the service says of its settings (GET /api/v1/form).
// A control has: element, read() (undefined: as by default), write(value), and focus().

import { graticule } from "./graticule.js";
import { make, pretty, size } from "./page.js";
import { uploadField } from "./upload.js";

const ACCEPT = {
  dem: ".tif,.tiff", raster: ".tif,.tiff", climate: ".csv", zones: ".geojson,.json,.gpkg", table: ".csv",
};
const LONG_HELP = 150; // letters, above which only the first sentence is seen at once

const idOf = (key) => `field-${key.replaceAll(".", "-")}`;
const same = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);

// values as text

function parse(text, { words = [] } = {}) {
  const plain = text.trim();
  if (plain === "") return undefined;
  if (words.includes(plain)) return plain;
  const parts = plain.split(/[\s,;]+/).filter(Boolean).map((part) => (Number.isNaN(Number(part)) ? part : Number(part)));
  return parts.length === 1 ? parts[0] : parts;
}

const written = (value) => (Array.isArray(value) ? value.join(", ") : value === null || value === undefined ? "" : String(value));

function rangeOf(field) {
  const { minimum: least, maximum: most, exclusive_minimum: above, exclusive_maximum: below } = field;
  const from = least !== undefined ? `${least}` : above !== undefined ? `above ${above}` : null;
  const to = most !== undefined ? `${most}` : below !== undefined ? `below ${below}` : null;
  if (from && to) return `${from} to ${to}`;
  if (from) return least !== undefined ? `at least ${from}` : from;
  return to ? (most !== undefined ? `at most ${to}` : to) : null;
}

// controls by type

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
    id, kind: field.upload, accept: ACCEPT[field.upload], label: "File",
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
  const [west, south, east, north] = bounds.map((degrees) => degrees.toFixed(4));
  return make("div", { class: "beside" },
    make("img", { class: "picture", src: upload.hillshade, alt: `Hillshade of ${upload.name}` }),
    make("dl", { class: "facts" },
      ...fact("File", `${upload.name}, ${size(upload.size)}`),
      ...fact("Cells", `${height} × ${width}`),
      ...fact("Cell", `${Number(cell[0].toPrecision(6))} × ${Number(cell[1].toPrecision(6))} ${unit}`),
      ...fact("Coordinates", crs),
      ...(range ? fact("Elevation", `${Math.round(range[0])} to ${Math.round(range[1])}`) : []),
      ...fact("Footprint", `${west}° to ${east}° E, ${south}° to ${north}° N`)));
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

const CONTROLS = {
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

// fields

function helpOf(field, id) {
  const parts = [];
  const range = ["number", "whole", "monthly"].includes(field.type) ? rangeOf(field) : null;
  const known = [range, field.words?.length ? `or ${field.words.join(", ")}` : null].filter(Boolean).join(", ");
  const [, first, rest] = field.help.length > LONG_HELP ? (/^(.{30,}?[.;])\s+(.*)$/s.exec(field.help) ?? [null, field.help, ""]) : [null, field.help, ""];
  if (field.type !== "elevation") parts.push(make("p", { class: "help" }, [first.replace(/;$/, ""), known && `(${known})`].filter(Boolean).join(" ")));
  if (rest && field.type !== "elevation") parts.push(make("details", { class: "help" }, make("summary", {}, "more"), rest));
  return make("div", { id: `${id}-help` }, ...parts);
}

function buildField(field, tools) {
  const id = idOf(field.key);
  const control = CONTROLS[field.type](field, id, tools);
  const wrong = make("p", { class: "wrong", id: `${id}-wrong`, hidden: true });
  const unit = field.unit ? make("span", { class: "unit" }, ` [${pretty(field.unit)}]`) : null;
  const help = helpOf(field, id);
  const needed = make("span", { class: "unit", hidden: !field.required }, " required");
  let element;
  if (control.inline) {
    element = make("div", { class: "field" }, make("label", { for: id }, control.element, field.label), help, wrong);
  } else if (control.group) {
    element = make("fieldset", { class: "field" }, make("legend", {}, field.label, unit, needed), control.element, help, wrong);
  } else {
    element = make("div", { class: "field" }, make("label", { for: id }, field.label, unit, needed), control.element, help, wrong);
  }
  if (control.wide || ["elevation", "axes", "upload"].includes(field.type)) element.classList.add("across");
  control.input.setAttribute("aria-describedby", `${id}-wrong ${id}-help`);
  return {
    field,
    control,
    element,
    touched: false,
    need: (yes) => { needed.hidden = !yes; },
    fail: (message) => {
      wrong.textContent = message ?? "";
      wrong.hidden = !message;
      for (const input of control.inputs ?? [control.input]) {
        if (message) input.setAttribute("aria-invalid", "true");
        else input.removeAttribute("aria-invalid");
      }
    },
  };
}

/** Build the form of `description` into an element; `changed` is called after each change. */
export function buildForm(description, element, { changed, uploads, named }) {
  const tools = { form: description, changed, uploads, named };
  const fields = new Map();
  let kind = "eemt";

  const kinds = description.kinds.map(({ value, label, help }) => {
    const radio = make("input", { type: "radio", name: "kind", value, id: `kind-${value}`, checked: value === kind });
    radio.addEventListener("change", () => {
      kind = value;
      arrange();
      changed();
    });
    return make("label", {}, radio, label, make("small", {}, help));
  });
  const name = make("input", { id: "name", name: "name", maxlength: 64, autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "name-wrong name-help" });
  const nameWrong = make("p", { class: "wrong", id: "name-wrong", hidden: true });
  const what = make("section", { "aria-labelledby": "what" }, make("h2", { id: "what" }, "What"),
    make("fieldset", { class: "field" }, make("legend", { class: "unseen" }, "Kind of job"), make("div", { class: "cards-choice" }, ...kinds)),
    make("div", { class: "fields" }, make("div", { class: "field" }, make("label", { for: "name" }, "Name"), name,
      make("p", { class: "help", id: "name-help" }, "Letters, digits, - and _"), nameWrong)));

  const basic = [];
  const more = [];
  // the area is drawn on before a model's outline is put there
  const inOrder = (list) => [...list].sort((one, other) => (other.type === "bbox") - (one.type === "bbox"));
  for (const section of description.sections) {
    for (const field of inOrder(section.fields)) fields.set(field.key, buildField(field, tools));
    for (const [group, list] of [["basic", basic], ["advanced", more]]) {
      const those = section.fields.filter((field) => field.group === group);
      if (those.length) list.push({ section, elements: those.map((field) => fields.get(field.key).element) });
    }
  }
  const basicElements = basic.map(({ section, elements }) => make("section", { "data-section": section.name, "aria-labelledby": `section-${section.name}` },
    make("h2", { id: `section-${section.name}` }, section.title), make("div", { class: "fields" }, ...elements)));
  const moreElements = more.map(({ section, elements }) => make("details", { class: "section", "data-section": section.name },
    make("summary", {}, section.title), make("p", { class: "soft" }, section.help.replace(/ \(docs\/[^)]*\)/, "")), make("div", { class: "fields" }, ...elements)));
  element.replaceChildren(what, ...basicElements,
    make("section", { "aria-labelledby": "more" }, make("h2", { id: "more" }, "More settings"),
      make("p", { class: "soft" }, "All have a default that is right for most."), ...moreElements));

  const valueOf = (key) => {
    const { field, control } = fields.get(key);
    const value = control.read();
    return value === undefined ? field.default : value;
  };
  function holds(condition) {
    if (!condition) return true;
    const value = valueOf(condition.field);
    if (condition.one_of) return condition.one_of.includes(value);
    if (condition.has) return condition.has.some((word) => (value ?? []).includes(word));
    return condition.given ? value !== undefined && value !== null : true;
  }
  const shown = (key) => {
    const { field } = fields.get(key);
    return field.kinds.includes(kind) && holds(field.shown_when);
  };
  function arrange() {
    const there = description.kinds.find(({ value }) => value === kind).sections;
    for (const part of element.querySelectorAll("[data-section]")) part.hidden = !there.includes(part.dataset.section);
    for (const [key, one] of fields) {
      one.element.hidden = !shown(key);
      one.need(one.field.required || Boolean(one.field.needed_when && holds(one.field.needed_when)));
    }
  }

  element.addEventListener("input", (event) => {
    touch(event.target);
    arrange();
    changed();
  });
  element.addEventListener("change", (event) => touch(event.target));
  let nameTouched = false;
  function touch(target) {
    if (target === name) nameTouched = true;
    for (const one of fields.values()) if (one.element.contains(target)) one.touched = true;
  }
  arrange();

  return {
    get kind() { return kind; },
    name,
    nameIsOwn: () => nameTouched,
    /** Return the settings, without what is as by default. */
    read() {
      const settings = {};
      for (const [key, { field, control }] of fields) {
        if (!shown(key)) continue;
        const value = control.read();
        if (value === undefined || same(value, field.default)) continue;
        const [section, own] = key.split(".");
        (settings[section] ??= {})[own] = value;
      }
      if (kind === "eemt") settings.climate ??= {};
      return settings;
    },
    /** Fill the form with a job's settings. */
    write(ofKind, settings) {
      kind = ofKind;
      element.querySelector(`#kind-${kind}`).checked = true;
      for (const [key, { control }] of fields) {
        const [section, own] = key.split(".");
        const value = settings[section]?.[own];
        if (value !== undefined) control.write(value);
      }
      for (const part of element.querySelectorAll("details.section")) {
        const section = settings[part.dataset.section] ?? {};
        const advanced = [...fields.values()].filter(({ field }) => field.group === "advanced" && field.key.startsWith(`${part.dataset.section}.`));
        part.open = advanced.some(({ field }) => section[field.key.split(".")[1]] !== undefined);
      }
      arrange();
    },
    /** Show mistakes at their fields: of those touched, or all; returns what belongs to no field, and the first field. */
    mistakes(errors, all) {
      for (const one of fields.values()) one.fail(null);
      nameWrong.hidden = true;
      name.removeAttribute("aria-invalid");
      const rest = [];
      const missing = [];
      let first = null;
      for (const { field: path, message } of errors) {
        const key = path.replace(/^settings\./, "");
        const found = key === "name" ? null : [...fields.keys()].find((known) => key === known || key.startsWith(`${known}.`) || key.startsWith(`${known}[`));
        if (key === "name") {
          if (all || nameTouched) {
            nameWrong.textContent = message;
            nameWrong.hidden = false;
            name.setAttribute("aria-invalid", "true");
            first ??= name;
          }
          missing.push("Name");
        } else if (found) {
          const one = fields.get(found);
          missing.push(one.field.label);
          if (!all && !one.touched) continue;
          one.fail(message);
          for (let parent = one.element.parentElement; parent; parent = parent.parentElement) if (parent.tagName === "DETAILS") parent.open = true;
          first ??= one.control.input;
        } else rest.push(key ? `${key}: ${message}` : message);
      }
      return { rest, missing: [...new Set(missing)], first };
    },
    footprints: (...outlines) => tools.showFootprints?.(...outlines),
  };
}
