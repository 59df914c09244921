// Server-sent events: a browser takes a broken stream up again by itself, but not one that was refused
// while the service started anew; this one tries again then, too.

const KINDS = ["hello", "state", "progress", "rule_started", "rule_finished", "rule_failed", "message", "archive", "log", "end"];
const LONGEST = 30000; // ms between attempts

/**
 * Follow a stream: told(kind, data) for each event, connected(true or false) when that changes.
 * A new request names by `resume` the number of the last event that was received.
 */
export function follow(path, told, connected = () => {}, resume = "after") {
  let source = null;
  let wait = 1000;
  let last = "";
  let over = false;

  function open() {
    const address = new URL(`/api/v1${path}`, location.href);
    if (last) address.searchParams.set(resume, last);
    source = new EventSource(address);
    source.onopen = () => {
      wait = 1000;
      connected(true);
    };
    source.onerror = () => {
      if (over || !source) return;
      connected(false);
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(() => {
          if (!over && !document.hidden && source?.readyState === EventSource.CLOSED) open();
        }, wait);
        wait = Math.min(2 * wait, LONGEST);
      }
    };
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        last = event.lastEventId || last;
        told(kind, JSON.parse(event.data));
      });
    }
  }

  function close() {
    over = true;
    source?.close();
  }

  // browsers have few connections to one server, and a page that nobody looks at needs none
  function look() {
    if (over) return;
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source || source.readyState === EventSource.CLOSED) open();
  }

  open();
  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", close);
  return close;
}
