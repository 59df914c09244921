// Parts of pages: elements, numbers for people, messages, questions before what cannot be undone.

/** Make an element: make("p", { class: "soft" }, "text", other). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Make an element of SVG. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function size(octets) {
  if (octets === null || octets === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let number = octets;
  let place = 0;
  while (number >= 999.5 && place < units.length - 1) {
    number /= 1000;
    place += 1;
  }
  return `${number >= 10 || place === 0 ? number.toFixed(0) : number.toFixed(1)} ${units[place]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const left = Math.max(0, Math.round(seconds));
  if (left < 60) return `${left} s`;
  for (const [name, length, smaller, part] of [["d", 86400, "h", 3600], ["h", 3600, "min", 60], ["min", 60, "s", 1]]) {
    if (left >= length) {
      const rest = Math.floor((left % length) / part);
      return `${Math.floor(left / length)} ${name}${rest ? ` ${rest} ${smaller}` : ""}`;
    }
  }
}

export const grouped = (number) => Math.round(number).toLocaleString("en").replaceAll(",", "\u202f");

/** Write a number with four significant digits, as on legends. */
export function shown(number) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  const text = Math.abs(number) >= 1000 ? grouped(number) : String(Number(number.toPrecision(4)));
  return text.replace("-", "\u2212");
}

const RAISED = Object.fromEntries([..."-0123456789"].map((sign, place) => [sign, [..."⁻⁰¹²³⁴⁵⁶⁷⁸⁹"][place]]));

/** Write a unit as on paper: MJ m⁻² yr⁻¹. */
export const pretty = (unit) => unit.replace(/(?<=[A-Za-z])-?\d+/g, (power) => [...power].map((sign) => RAISED[sign]).join(""));

/** Write times in the page for the reader's own clock; what stands there without scripts is UTC. */
export function localTimes(within = document) {
  const form = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const element of within.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    element.dataset.local = "";
    element.title = element.textContent;
    element.textContent = form.format(at);
  }
}

/** Show a message in an element; `bad` for errors. */
export function tell(element, text, bad = false) {
  element.replaceChildren(make("p", {}, text));
  element.className = `note ${bad ? "bad" : "good"}`;
  element.hidden = !text;
}

/** Ask before something is done; resolves with true or false. */
export function ask(title, text, action, bad = true) {
  const dialog = make("dialog", { "aria-labelledby": "asked" },
    make("h2", { id: "asked" }, title),
    make("p", {}, text),
    make("form", { method: "dialog", class: "row" },
      make("button", { value: "yes", class: bad ? "bad" : "main" }, action),
      make("button", { value: "", autofocus: true }, "Leave it")));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
