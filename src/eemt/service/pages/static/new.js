// A new job, or one like another: the form, what it will be, and its submission.

import { get, post } from "./api.js";
import { buildForm } from "./form.js";
import { duration, grouped, make, size } from "./page.js";

const QUIET = 500; // ms without a change before the service is asked

const page = document.getElementById("job");
const { from } = page.dataset;
const wrong = document.getElementById("wrong");
const estimate = document.getElementById("estimate");
const submit = document.getElementById("submit");

let form = null;
let other = null;
let timer = null;
let asked = 0;
// the same key for the same try, so that a submission that is sent twice makes one job
let key = newKey();

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((octet) => octet.toString(16).padStart(2, "0")).join("");
}

function changed() {
  key = newKey();
  clearTimeout(timer);
  timer = setTimeout(look, QUIET);
}

const wish = () => ({ name: form.name.value.trim(), kind: form.kind, settings: form.read() });

/** Ask what the job will be; mistakes stand at the fields that were touched. */
async function look(all = false) {
  const number = (asked += 1);
  try {
    const found = await post("/estimate", wish());
    if (number !== asked) return null;
    form.mistakes([], all);
    showWrong([]);
    showEstimate(found);
    return found;
  } catch (error) {
    if (number === asked) showMistakes(error, all);
    return null;
  }
}

function showMistakes(error, all) {
  const { rest, missing, first } = form.mistakes(error.errors ?? [], all);
  if (!error.errors?.length) rest.push(error.message);
  showWrong(all ? [...missing, ...rest].length ? rest : [error.message] : rest, all ? missing : []);
  estimate.replaceChildren(make("p", { class: "soft" },
    missing.length ? `Size, time and disk stand here as soon as this is right: ${missing.join(", ")}.` : "What stands above has to be mended first."));
  if (all) (first ?? wrong).focus();
}

function showWrong(messages, fields = []) {
  wrong.hidden = !messages.length && !fields.length;
  wrong.replaceChildren(
    ...(fields.length ? [make("p", {}, `Please look at: ${fields.join(", ")}.`)] : []),
    ...messages.map((message) => make("p", {}, message)));
}

function showEstimate(found) {
  const { grid, cells, tiles, jobs, maps, seconds, bytes, measured, problem } = found;
  const item = (number, text) => make("li", {}, make("b", {}, number), text);
  const known = cells !== null;
  const list = make("ul", { class: "key" },
    ...(known ? [
      item(grouped(cells), `cells, ${grid.height} × ${grid.width}`),
      item(`${Number(grid.dx.toPrecision(4))} m`, `cells in ${grid.crs.length < 16 ? grid.crs : "the model's system"}`),
      item(`${jobs}`, `steps, ${tiles} ${tiles === 1 ? "tile" : "tiles"}`)] : []),
    ...(maps ? [item(`${maps}`, "maps of energy")] : []),
    ...(seconds !== null ? [item(`about ${duration(seconds)}`, measured ? "on this machine, by jobs that ran here" : "on this machine")] : []),
    ...(known ? [item(size(bytes), "of disk")] : []));
  estimate.replaceChildren(
    ...(known ? [list] : [make("p", { class: "soft" }, "Only the elevation's server knows its size; it is asked when the job runs.")]),
    ...(problem ? [make("div", { class: "note bad" }, make("p", {}, problem))] : []));
}

/** Return what changes `old` into `wanted`, as a JSON merge patch. */
function difference(old, wanted) {
  const patch = {};
  for (const name of Object.keys(old)) if (!(name in wanted)) patch[name] = null;
  for (const [name, value] of Object.entries(wanted)) {
    const before = old[name];
    const both = [value, before].every((one) => one && typeof one === "object" && !Array.isArray(one));
    if (both) patch[name] = difference(before, value);
    else if (JSON.stringify(value) !== JSON.stringify(before)) patch[name] = value;
  }
  return patch;
}

page.addEventListener("submit", async (event) => {
  event.preventDefault();
  submit.disabled = true;
  clearTimeout(timer);
  const sending = wish();
  try {
    if (!(await look(true))) return;
    const made = other
      ? await post(`/jobs/${other.id}/clone`, { ...sending, settings: difference(other.settings, sending.settings) })
      : await post("/jobs", sending, { headers: { "Idempotency-Key": key } });
    location.assign(`/jobs/${made.id}`);
  } catch (error) {
    showMistakes(error, true);
  } finally {
    submit.disabled = false;
  }
});

/** Fetch the uploads that settings name, so that the form can show them. */
async function uploadsOf(settings, uploads) {
  const ids = [...JSON.stringify(settings).matchAll(/"upload":"([0-9a-f]+)"/g)].map(([, id]) => id);
  await Promise.all([...new Set(ids)].map(async (id) => {
    try {
      uploads.set(id, await get(`/uploads/${id}`));
    } catch {
      uploads.set(id, { id, name: "a file that is no longer there", size: null });
    }
  }));
}

async function start() {
  const uploads = new Map();
  const place = document.getElementById("form");
  const [description, origin] = await Promise.all([get("/form"), from ? get(`/jobs/${from}`) : null]);
  other = origin;
  if (other) await uploadsOf(other.settings, uploads);
  form = buildForm(description, place, {
    changed,
    uploads,
    named(file) {
      if (form && !form.nameIsOwn() && !other) form.name.value = file.replace(/\.[^.]*$/, "").replace(/[^A-Za-z0-9_-]+/g, "_").replace(/^[^A-Za-z0-9]+/, "").slice(0, 64);
    },
  });
  place.removeAttribute("aria-busy");
  submit.disabled = false;
  if (other) {
    form.name.value = other.name;
    form.write(other.kind, other.settings);
    await look();
  }
}

start().catch((error) => {
  showWrong([error.message]);
  document.getElementById("form").replaceChildren();
});
