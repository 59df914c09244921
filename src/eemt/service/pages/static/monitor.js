// The monitor: rows follow the jobs' events; what is new or has changed its state is taken from the page itself.

import { follow } from "./live.js";
import { localTimes, make } from "./page.js";

const list = document.getElementById("jobs");
const news = document.getElementById("news");
const live = document.getElementById("live");
const FINISHED = { completed: "is completed", failed: "failed", cancelled: "was cancelled" };
let renewal = null;

async function renew() {
  renewal = null;
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const focused = document.activeElement?.getAttribute("href");
    list.replaceChildren(...page.getElementById("jobs").childNodes);
    localTimes(list);
    if (focused) list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  } catch {
    // the stream's next word brings it
  }
}

function renewSoon() {
  renewal ??= setTimeout(renew, 400);
}

function told(kind, data) {
  const row = list.querySelector(`tr[data-job="${CSS.escape(data.job_id)}"]`);
  if (kind === "archive") {
    if (row) renewSoon();
  } else if (kind === "state") {
    if (row && FINISHED[data.state]) news.textContent = `${row.querySelector("a").textContent} ${FINISHED[data.state]}`;
    renewSoon();
  } else if (kind === "progress" && row) {
    const steps = row.querySelector(".steps");
    if (!steps) return renewSoon();
    const bar = steps.querySelector("progress");
    bar.max = data.total || 1;
    bar.value = data.done;
    steps.querySelector("small").textContent = `${data.done} of ${data.total} steps`;
  }
}

localTimes();
document.getElementById("state").addEventListener("change", (event) => event.target.form.requestSubmit());
let seen = false;
follow(list.dataset.all === "true" ? "/events?all=true" : "/events", told, (there) => {
  if (there && seen) renewSoon(); // what happened meanwhile
  seen = seen || there;
  live.hidden = false;
  live.replaceChildren(make("span", {}, there ? "This list follows what happens." : "The connection is interrupted; trying again …"));
});
