// The account: tokens made and revoked, the password changed.

import { get, post, remove, send } from "./api.js";
import { ask, localTimes, make, tell } from "./page.js";

const told = document.getElementById("told");
const list = document.getElementById("tokens");
const secret = document.getElementById("secret");

const time = (at) => (at ? make("time", { datetime: at }, at) : "never");

async function show() {
  const { items } = await get("/tokens");
  if (!items.length) return list.replaceChildren(make("p", { class: "soft" }, "There are none."));
  const rows = items.map((token) => {
    const button = make("button", { type: "button", class: "bad" }, "Revoke", make("span", { class: "unseen" }, ` ${token.name}`));
    button.addEventListener("click", () => revoke(token));
    return make("tr", {},
      make("th", { scope: "row" }, token.name),
      make("td", { "data-label": "Made" }, time(token.created)),
      make("td", { "data-label": "Last used" }, time(token.used)),
      make("td", { "data-label": "Expires" }, time(token.expires)),
      make("td", {}, button));
  });
  const head = ["For what", "Made", "Last used", "Expires", ""].map((name) => make("th", { scope: "col" }, name));
  list.replaceChildren(make("table", { class: "wide cards" },
    make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
  localTimes(list);
}

async function revoke(token) {
  if (!(await ask(`Revoke ${token.name}?`, "Programs that use it are refused from then on.", "Revoke it"))) return;
  await trying(() => remove(`/tokens/${token.id}`), `${token.name} is revoked.`);
  await show();
}

async function trying(action, done) {
  try {
    const result = await action();
    tell(told, done);
    return result;
  } catch (error) {
    tell(told, error.message, true);
    return null;
  }
}

document.getElementById("new-token").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const made = await trying(
    () => post("/tokens", { name: form.elements.name.value, days: Number(form.elements.days.value) }),
    "The token is made.",
  );
  if (!made) return;
  document.getElementById("secret-text").textContent = made.token;
  secret.hidden = false;
  document.getElementById("secret-text").focus();
  form.elements.name.value = "";
  await show();
});

document.getElementById("copy").addEventListener("click", async () => {
  const text = document.getElementById("secret-text");
  try {
    await navigator.clipboard.writeText(text.textContent);
    tell(told, "Copied.");
  } catch {
    // not everywhere may pages write there: it is selected, to be copied by hand
    getSelection().selectAllChildren(text);
  }
});

document.getElementById("password").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { password, new_password: wanted } = event.target.elements;
  const body = { password: password.value, new_password: wanted.value };
  await trying(async () => {
    await send("PUT", "/me/password", { body });
    event.target.reset();
  }, "The password is changed; other browsers are signed out.");
});

show().catch((error) => tell(told, error.message, true));
