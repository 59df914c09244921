// Files on their way to the service: in pieces, each taken up again where it broke off, also after a reload.

import { Problem, get, patch, post } from "./api.js";
import { duration, make, size } from "./page.js";

const FIRST_PIECE = 512 * 1024; // bytes; pieces grow as long as each takes less than a second
const ATTEMPTS = 8;
const LONGEST_WAIT = 15000; // ms

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const keyOf = (file, kind) => `eemt-upload ${kind} ${file.name} ${file.size} ${file.lastModified}`;

async function known(file, kind) {
  const id = localStorage.getItem(keyOf(file, kind));
  if (!id) return null;
  try {
    const upload = await get(`/uploads/${id}`);
    return upload.state === "refused" ? null : upload;
  } catch (error) {
    if (error.status === 404 || error.status === 410) localStorage.removeItem(keyOf(file, kind));
    return null;
  }
}

/** Send a file; resolves with the upload when it was checked. `progress` is told {sent, rate, resumed, checking}. */
export async function upload(file, kind, progress, signal) {
  let there = await known(file, kind);
  const resumed = Boolean(there && there.offset);
  there ??= await post("/uploads", { name: file.name, size: file.size, kind }, { signal });
  localStorage.setItem(keyOf(file, kind), there.id);
  let piece = FIRST_PIECE;
  let failed = 0;
  let offset = there.offset;
  const began = { at: performance.now(), offset };
  while (offset < file.size) {
    const started = performance.now();
    try {
      const answer = await patch(`/uploads/${there.id}`, file.slice(offset, offset + piece), {
        headers: { "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" },
        signal,
      });
      offset = answer.offset;
      failed = 0;
      if (performance.now() - started < 1000) piece = Math.min(2 * piece, there.chunk_bytes ?? piece);
    } catch (error) {
      if (!(error instanceof Problem) || ![0, 408, 409, 429, 502, 503, 504].includes(error.status)) throw error;
      failed += 1;
      if (failed > ATTEMPTS) throw error;
      progress({ sent: offset, waiting: true });
      await wait(Math.min(500 * 2 ** failed, LONGEST_WAIT));
      // how much has arrived is for the service to say
      offset = await get(`/uploads/${there.id}`, { signal }).then((upload) => upload.offset, () => offset);
    }
    progress({ sent: offset, resumed, rate: (offset - began.offset) / ((performance.now() - began.at) / 1000) });
  }
  progress({ sent: file.size, checking: true });
  for (let pause = 150; ; pause = Math.min(1.5 * pause, 2000)) {
    there = await get(`/uploads/${there.id}`, { signal });
    if (there.state === "ready") return there;
    if (there.state === "refused") {
      localStorage.removeItem(keyOf(file, kind));
      throw new Problem({ status: 422, detail: there.problem ?? "The file cannot be used." });
    }
    await wait(pause);
  }
}

/** A field for a file of one kind: drag and drop, progress, the end of it. Calls `changed` with the upload or null. */
export function uploadField({ id, kind, accept, label, changed }) {
  const input = make("input", { type: "file", id, accept });
  const bar = make("progress", { max: 1, value: 0, "aria-label": `Upload of ${label}`, hidden: true });
  const status = make("p", { class: "soft", role: "status" });
  const stop = make("button", { type: "button", hidden: true }, "Stop");
  const zone = make("div", { class: "drop" },
    make("label", { for: id, class: "unseen" }, `${label}: file`),
    make("p", {}, input, make("span", { class: "soft" }, " or drop it here")), bar, status, stop);
  let aborter = null;

  async function take(file) {
    aborter?.abort();
    const own = new AbortController();
    aborter = own;
    changed(null);
    bar.hidden = stop.hidden = false;
    bar.max = file.size || 1;
    bar.value = 0;
    status.textContent = `${file.name}: ${size(file.size)}`;
    try {
      const ready = await upload(file, kind, (now) => {
        if (own.signal.aborted) return;
        bar.value = now.sent;
        if (now.checking) status.textContent = `${file.name}: looking into it …`;
        else if (now.waiting) status.textContent = `${file.name}: the connection broke off; trying again …`;
        else {
          const left = now.rate > 0 ? `, ${duration((file.size - now.sent) / now.rate)} left` : "";
          status.textContent = `${file.name}: ${size(now.sent)} of ${size(file.size)}${left}${now.resumed ? " (taken up again)" : ""}`;
        }
      }, own.signal);
      if (own.signal.aborted) return;
      status.textContent = `${file.name}: ${size(file.size)}, ready`;
      bar.hidden = true;
      changed(ready);
    } catch (error) {
      if (error.name === "AbortError" || own.signal.aborted) {
        status.textContent = `${file.name}: stopped; choose it again to go on where it stopped`;
      } else {
        status.replaceChildren(make("span", { class: "wrong" }, `${file.name}: ${error.message}`));
      }
      bar.hidden = true;
    } finally {
      if (aborter === own) stop.hidden = true;
    }
  }

  stop.addEventListener("click", () => aborter?.abort());
  input.addEventListener("change", () => input.files[0] && take(input.files[0]));
  for (const name of ["dragenter", "dragover"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) zone.addEventListener(name, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  });
  return {
    element: zone,
    input,
    /** Show an upload that there is already, as of a job that is cloned. */
    show(there) {
      status.textContent = `${there.name}: ${size(there.size)}, as in the other job`;
    },
  };
}

