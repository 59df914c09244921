// The start page: the state of the system, taken anew from the page itself every half minute.

import { localTimes } from "./page.js";

async function renew() {
  if (document.hidden) return;
  try {
    const response = await fetch("/", { headers: { Accept: "text/html" } });
    if (!response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.getElementById("system");
    if (!fresh) return;
    document.getElementById("system").replaceWith(fresh);
    localTimes(fresh);
  } catch {
    // the next one may succeed
  }
}

localTimes();
setInterval(renew, 30000);
