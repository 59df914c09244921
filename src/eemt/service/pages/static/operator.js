// For operators: users, cleanup with a look before, the audit trail.

import { get, patch, post } from "./api.js";
import { ask, localTimes, make, size, tell } from "./page.js";

const told = document.getElementById("told");
const users = document.getElementById("users");
const trail = document.getElementById("audit");
const more = document.getElementById("more");
const cleaned = document.getElementById("cleaned");

function table(names, rows) {
  const head = names.map((name) => make("th", { scope: "col" }, name));
  return make("div", { class: "scroll" }, make("table", { class: "wide cards" },
    make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
}

async function trying(action, done) {
  try {
    const result = await action();
    if (done) tell(told, done);
    return result;
  } catch (error) {
    tell(told, error.message, true);
    told.scrollIntoView({ block: "nearest" });
    return null;
  }
}

async function showUsers() {
  const items = [];
  let after = "";
  do {
    const page = await get(`/users?limit=500${after ? `&after=${encodeURIComponent(after)}` : ""}`);
    items.push(...page.items);
    after = page.following;
  } while (after);
  const editable = Boolean(document.getElementById("new-user"));
  const rows = items.map((user) => {
    const actions = make("td", {});
    if (editable) actions.append(...buttons(user));
    return make("tr", {},
      make("th", { scope: "row" }, user.name),
      make("td", { "data-label": "Role" }, user.role),
      make("td", { "data-label": "Disk" }, user.quota_bytes === null ? "as for all" : size(user.quota_bytes)),
      make("td", { "data-label": "Since" }, make("time", { datetime: user.created }, user.created)),
      make("td", { "data-label": "State" }, user.disabled ? "disabled" : "enabled"),
      actions);
  });
  users.replaceChildren(table(["Name", "Role", "Disk", "Since", "State", ""], rows));
  localTimes(users);
}

function buttons(user) {
  const named = (text) => make("button", { type: "button" }, text, make("span", { class: "unseen" }, ` ${user.name}`));
  const able = named(user.disabled ? "Enable" : "Disable");
  able.addEventListener("click", async () => {
    const question = "They are signed out, and their tokens are refused; their jobs go on.";
    if (!user.disabled && !(await ask(`Disable ${user.name}?`, question, "Disable"))) return;
    await trying(() => patch(`/users/${user.id}`, { disabled: !user.disabled }), `${user.name} is changed.`);
    await showUsers();
  });
  const role = named(user.role === "operator" ? "Make user" : "Make operator");
  role.addEventListener("click", async () => {
    const wanted = user.role === "operator" ? "user" : "operator";
    if (!(await ask(`Make ${user.name} ${wanted}?`, "Operators see and change everybody's jobs and accounts.", "Change the role"))) return;
    await trying(() => patch(`/users/${user.id}`, { role: wanted }), `${user.name} is now ${wanted}.`);
    await showUsers();
  });
  return [able, " ", role];
}

document.getElementById("new-user")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { name, password, role, quota } = event.target.elements;
  const body = { name: name.value, password: password.value, role: role.value };
  if (quota.value) body.quota_bytes = Math.round(Number(quota.value) * 1e9);
  if (await trying(() => post("/users", body), `${name.value} can sign in.`)) {
    event.target.reset();
    await showUsers();
  }
});

async function clean(dry) {
  const done = await trying(() => post(`/system/cleanup?dry_run=${dry}`));
  if (!done) return;
  const what = dry ? "would be removed" : "was removed";
  const beside = [[done.items.length, `jobs and uploads (${size(done.bytes)})`], [done.events, "events of old jobs"],
    [done.audit, "lines of the audit trail"], [done.sign_ins, "old sign-ins"]]
    .filter(([number]) => number).map(([number, name]) => `${number} ${name}`);
  const rows = done.items.map((item) => make("tr", {},
    make("th", { scope: "row" }, item.kind === "job" ? make("a", { href: `/jobs/${item.id}` }, item.name) : item.name),
    make("td", { "data-label": "Kind" }, item.kind),
    make("td", { "data-label": "Size" }, size(item.bytes)),
    make("td", { "data-label": "Why" }, item.why)));
  const anything = beside.length;
  const kept = done.kept.map((item) => make("tr", {},
    make("th", { scope: "row" }, make("a", { href: `/jobs/${item.id}` }, item.name)),
    make("td", { "data-label": "Size" }, size(item.bytes)),
    make("td", { "data-label": "Why it stays", class: "name" }, item.why)));
  cleaned.replaceChildren(
    make("p", {}, anything
      ? `This ${what}: ${beside.join(", ")}.`
      : dry && !kept.length ? "Nothing is past its time." : dry ? "Nothing would be removed." : "Nothing was removed."),
    ...(rows.length ? [table(["Name", "Kind", "Size", "Why"], rows)] : []),
    ...(kept.length ? [make("p", {}, "These are past their time and stay until they are archived:"), table(["Name", "Size", "Why it stays"], kept)] : []));
  document.getElementById("cleanup").disabled = !(dry && (anything || kept.length));
}

document.getElementById("dry-run").addEventListener("click", () => clean(true));
document.getElementById("cleanup").addEventListener("click", async () => {
  if (await ask("Remove it?", "The files are gone for ever; records and configs stay.", "Remove")) {
    await clean(false);
    await showTrail();
  }
});

let following = null;
async function showTrail(further = false) {
  const page = await get(`/audit?limit=50${further && following ? `&after=${following}` : ""}`);
  following = page.following;
  more.hidden = !following;
  const rows = page.items.map((line) => make("tr", {},
    make("th", { scope: "row" }, make("time", { datetime: line.at }, line.at)),
    make("td", { "data-label": "Who" }, line.user_name ?? "–"),
    make("td", { "data-label": "What" }, line.action),
    make("td", { "data-label": "On what", class: "name" }, line.target ?? ""),
    make("td", { "data-label": "From" }, line.address ?? ""),
    make("td", { "data-label": "Detail", class: "name" },
      Object.entries(line.detail ?? {}).map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join(", "))));
  if (further) trail.querySelector("tbody").append(...rows);
  else trail.replaceChildren(table(["When", "Who", "What", "On what", "From", "Detail"], rows));
  localTimes(trail);
}

more.addEventListener("click", () => trying(() => showTrail(true)));
localTimes();
trying(showUsers);
trying(showTrail);
