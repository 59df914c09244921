// One job: its progress and its log as they come, and what can be done with it.

import { post, remove } from "./api.js";
import { follow } from "./live.js";
import { ask, localTimes, tell } from "./page.js";

const { job, name } = document.getElementById("top").dataset;
const told = document.getElementById("told");
const news = document.getElementById("news");
const live = document.getElementById("live");
const WORDS = { pending: "waits", running: "runs", completed: "is completed", failed: "failed", cancelled: "was cancelled" };
const ARCHIVED = { archived: "is archived", retrieved: "is brought back", failed: "could not be archived or brought back", none: "is no longer on its way to the archive", ending: "is being called off" };
const UNDER_WAY = ["waiting", "packing", "moving", "verifying", "retrieving", "ending"];
const FINISHED = ["completed", "failed", "cancelled"];
const PACE = 1000; // ms between two looks at the progress
const KEPT = 400000; // letters of the log that the page keeps

/** Replace parts of this page by what the service says now. */
async function renew(address, ...parts) {
  const response = await fetch(address, { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const id of parts) {
    const old = document.getElementById(id);
    const fresh = page.getElementById(id);
    if (!old || !fresh) continue;
    // what the reader has opened stays open
    const open = [...old.querySelectorAll("details")].map((element) => element.open);
    const focused = old.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    fresh.querySelectorAll("details").forEach((element, place) => {
      if (open[place]) element.open = true;
    });
    old.replaceWith(fresh);
    localTimes(fresh);
    if (focused) (fresh.querySelector(`[data-action="${focused}"]`) ?? fresh.querySelector("a, button"))?.focus();
  }
}

let renewal = null;
function renewProgress() {
  renewal ??= setTimeout(async () => {
    await renew(`/jobs/${job}/progress`, "progress").catch(() => {});
    renewal = null;
  }, PACE);
}

let state = document.getElementById("top").dataset.state;
let stopLog = null;
let stopEvents = null;
let archive = "";

function followEvents() {
  stopEvents ??= follow(`/jobs/${job}/events`, happened, (there) => {
    live.hidden = there;
  });
}

function stop() {
  stopEvents?.();
  stopEvents = null;
}

async function happened(kind, data) {
  if (kind === "progress") {
    renewProgress();
  } else if (kind === "state" && data.state !== state) {
    state = data.state;
    if (FINISHED.includes(state)) stop(); // there is nothing more to be told
    news.textContent = `${name} ${WORDS[state]}`;
    document.title = `${state === "running" ? "▸ " : ""}${name} · EEMT`;
    if (state === "running" && !document.getElementById("log")) return location.reload();
    await renew(location.href, "top", "body").catch(() => {});
    if (state === "running" && !stopLog) followLog();
  } else if (kind === "archive" && `${data.state} ${data.message}` !== archive) {
    archive = `${data.state} ${data.message}`;
    const over = !UNDER_WAY.includes(data.state);
    if (over && FINISHED.includes(state)) stop();
    news.textContent = `${name} ${ARCHIVED[data.state] ?? `is on its way to or from the archive: ${data.state}`}`;
    await renew(location.href, "top", ...(over ? ["body"] : [])).catch(() => {});
  } else if (kind === "rule_failed") {
    news.textContent = `The rule ${data.rule} failed`;
    renewProgress();
  } else if (kind === "message") {
    news.textContent = data.text;
  }
}

function followLog() {
  const log = document.getElementById("log");
  if (!log) return;
  const along = document.getElementById("follow");
  const toEnd = () => {
    if (along.checked) log.scrollTop = log.scrollHeight;
  };
  toEnd();
  stopLog = follow(`/jobs/${job}/logs/stream?offset=${log.dataset.offset}`, (kind, data) => {
    if (kind === "log") {
      log.append(data.text);
      if (log.textContent.length > KEPT) log.textContent = log.textContent.slice(-KEPT / 2);
      toEnd();
    } else if (kind === "end") {
      stopLog();
      stopLog = null;
    }
  }, () => {}, "offset");
  log.addEventListener("wheel", () => {
    along.checked = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  }, { passive: true });
}

const ACTIONS = {
  async cancel() {
    if (!(await ask("Cancel this job?", "What it has finished is kept for a while; it can be run again from there.", "Cancel the job"))) return;
    await post(`/jobs/${job}/cancel`);
    tell(told, "Cancelling …");
    await renew(location.href, "top", "progress");
  },
  async retry() {
    await post(`/jobs/${job}/retry`);
    location.reload();
  },
  async archive() {
    await post(`/jobs/${job}/archive`);
    await renew(location.href, "top");
    followEvents();
  },
  async retrieve() {
    await post(`/jobs/${job}/retrieve`);
    await renew(location.href, "top");
    followEvents();
  },
  async "call-off"(button) {
    const { way } = button.dataset;
    const what = way === "archive"
      ? ["Call off archiving this job?", "What was begun of it is removed from the archive; its results stay here."]
      : ["Call off bringing this job back?", "Its results stay in the archive."];
    if (!(await ask(...what, "Call it off"))) return;
    await remove(`/jobs/${job}/${way}`);
    await renew(location.href, "top");
    followEvents();
  },
  async delete() {
    const { identifier } = document.getElementById("top").dataset;
    const kept = identifier ? ` The archive keeps ${identifier}; note this name down.` : "";
    if (!(await ask("Delete this job?", `Its results, maps and logs are removed for ever.${kept}`, "Delete the job"))) return;
    await remove(`/jobs/${job}`);
    location.assign("/jobs");
  },
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  button.disabled = true;
  told.hidden = true;
  try {
    await ACTIONS[button.dataset.action](button);
  } catch (error) {
    tell(told, error.message, true);
  } finally {
    button.disabled = false;
  }
});

localTimes();
if (!FINISHED.includes(state) || UNDER_WAY.includes(document.getElementById("top").dataset.archive)) followEvents();
if (state === "running") followLog();
else document.getElementById("log")?.scrollTo(0, 1e9);
