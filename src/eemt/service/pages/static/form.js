// The form of a job, made wholly from what the service says of its settings (GET /api/v1/form).

import { CONTROLS } from "./controls.js";
import { make, pretty } from "./page.js";

const LONG_HELP = 150; // letters, above which only the first sentence is seen at once

const idOf = (key) => `field-${key.replaceAll(".", "-")}`;
const same = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);

function rangeOf(field) {
  const { minimum: least, maximum: most, exclusive_minimum: above, exclusive_maximum: below } = field;
  const from = least !== undefined ? `${least}` : above !== undefined ? `above ${above}` : null;
  const to = most !== undefined ? `${most}` : below !== undefined ? `below ${below}` : null;
  if (from && to) return `${from} to ${to}`;
  if (from) return least !== undefined ? `at least ${from}` : from;
  return to ? (most !== undefined ? `at most ${to}` : to) : null;
}

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
  /** Return the field that a mistake belongs to: null for none, undefined where others of its section are told. */
  function fieldOf(key, errors) {
    const own = [...fields.keys()].find((known) => key === known || key.startsWith(`${known}.`) || key.startsWith(`${known}[`));
    if (own) return own;
    const ofSection = [...fields.keys()].filter((known) => known.startsWith(`${key}.`));
    if (!ofSection.length) return null;
    return errors.some(({ field }) => field.replace(/^settings\./, "").startsWith(`${key}.`)) ? undefined : ofSection[0];
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
      // a job of energy is known by its source of climate
      if (fields.get("climate.source")?.field.kinds.includes(kind)) (settings.climate ??= {}).source ??= valueOf("climate.source");
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
        const found = key === "name" ? null : fieldOf(key, errors);
        if (found === undefined) continue;
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
