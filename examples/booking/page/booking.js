// What the events say is shown at once; the page is never loaded again.

const SHOWN_CHANGES = 30;

const people = new Map();
let areas = [];
let places = {};
let signedIn = "";
let changes = [];
let drawing = false;

const at = (id) => document.getElementById(id);

function element(name, text = "", attributes = {}, ...children) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function card(title, text, open) {
  const state = open === undefined ? "" : open ? "Open: " : "Closed: ";
  const attributes = open === undefined ? {} : { class: open ? "open" : "closed" };
  return element("li", "", attributes, element("strong", title), element("small", state + text));
}

function drawPeople() {
  const wanted = at("search").value.trim().toLowerCase();
  const everybody = [...people.values()].sort((a, b) => a.name.localeCompare(b.name));
  const enabled = everybody.filter((person) => person.enabled).length;
  at("count").textContent = `${enabled} of ${everybody.length} people are enabled`;
  const focused = document.activeElement?.dataset?.user;
  at("list").replaceChildren(
    ...everybody
      .filter((person) => person.name.toLowerCase().includes(wanted))
      .map((person) => {
        const button = element("button", "", { type: "button", "data-user": person.id });
        button.append(element("span", person.name.split("@")[0]));
        if (!person.enabled) button.append(element("span", "disabled", { class: "off" }));
        if (person.id === signedIn) button.setAttribute("aria-current", "true");
        button.addEventListener("click", () => signIn(person.id));
        return element("li", "", {}, button);
      }),
  );
  if (focused) at("list").querySelector(`[data-user="${CSS.escape(focused)}"]`)?.focus();
}

function drawSomebody() {
  const person = people.get(signedIn);
  at("nobody").hidden = Boolean(person);
  at("somebody").hidden = !person;
  if (!person) return;
  at("name").textContent = person.name;
  at("state").textContent = person.enabled ? "Enabled" : "Disabled";
  at("state").className = person.enabled ? "mark good" : "mark bad";
  const held = new Set(person.grants.map((grant) => grant.grant));
  at("areas").replaceChildren(
    ...areas.map((area) => card(area.title, area.text, held.has(area.grant))),
  );
  const where = person.grants.filter((grant) => grant.kind in places);
  at("places").replaceChildren(
    ...where.map((grant) => card(grant.name, places[grant.kind])),
    ...(where.length ? [] : [element("li", "No reception desk, no cost center", { class: "closed" })]),
  );
}

function names(grants, without) {
  const others = new Set(without.map((grant) => grant.grant));
  return grants.filter((grant) => !others.has(grant.grant)).map((grant) => grant.name);
}

function difference(change) {
  const [before, after] = [change.before?.grants ?? [], change.after?.grants ?? []];
  return { gained: names(after, before), lost: names(before, after) };
}

function what(change) {
  if (!change.after) return "was deleted";
  if (change.after.enabled !== Boolean(change.before?.enabled)) {
    return change.after.enabled ? "joined: enabled" : change.before ? "left: disabled" : "is new, disabled";
  }
  return "changed";
}

function list(person) {
  if (!person) return "nobody";
  return person.grants.map((grant) => grant.name).join(", ") || "nothing";
}

function drawChanges() {
  at("none").hidden = changes.length > 0;
  at("log").replaceChildren(
    ...changes.map((change) => {
      const { gained, lost } = difference(change);
      const time = new Date(change.at).toLocaleTimeString();
      return element(
        "li", "", change.isNew ? { class: "new" } : {},
        element("strong", change.name.split("@")[0]), ` ${what(change)} `,
        element("time", `${time}, by ${change.source}`, { datetime: change.at }),
        element("div", "", {},
          ...gained.map((name) => element("ins", `+ ${name}`, { class: "good" })),
          ...lost.map((name) => element("del", `− ${name}`, { class: "bad" }))),
        element("p", `Before: ${list(change.before)}`),
        element("p", `After: ${list(change.after)}`),
      );
    }),
  );
  for (const change of changes) change.isNew = false;
}

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawPeople();
    drawSomebody();
    drawChanges();
  });
}

async function ask() {
  const whom = signedIn;
  const answer = await fetch("/admin");
  const told = await answer.json();
  if (whom !== signedIn) return;
  const decided = told.areas ?? [];
  const open = decided.filter((area) => area.open).length;
  at("asked").textContent = told.detail
    ?? `Muster decided in ${told.milliseconds} ms: ${open} of ${decided.length} are open.`;
  at("admin").replaceChildren(...decided.map((area) => card(area.title, area.text, area.open)));
}

async function signIn(user) {
  const answer = await fetch("/sign-in", {
    method: "POST",
    body: new URLSearchParams({ user }),
  });
  if (!answer.ok) return;
  signedIn = user;
  at("news").textContent = "";
  drawPeople();
  drawSomebody();
  at("name").focus();
  await ask();
}

function tell(change) {
  const { gained, lost } = difference(change);
  const parts = [`Just now this user ${what(change)}.`];
  if (gained.length) parts.push(`Gained: ${gained.join(", ")}.`);
  if (lost.length) parts.push(`Lost: ${lost.join(", ")}.`);
  at("news").textContent = parts.join(" ");
}

function connected(text, kind) {
  at("connection").textContent = text;
  at("connection").className = `mark ${kind}`;
}

const events = new EventSource("/events");
events.addEventListener("everything", (event) => {
  const told = JSON.parse(event.data);
  ({ areas, places } = told);
  signedIn ||= told.signedIn;
  changes = told.changes.reverse();
  people.clear();
  for (const person of told.people) people.set(person.id, person);
  if (told.ready) connected(`Live: ${told.tenant}`, "good");
  else connected("Waiting for Muster", "bad");
  draw();
  if (people.has(signedIn)) ask();
});
events.addEventListener("changes", (event) => {
  const told = JSON.parse(event.data);
  for (const change of told) {
    if (change.after) people.set(change.userId, change.after);
    else people.delete(change.userId);
    change.isNew = true;
    if (change.userId === signedIn) {
      tell(change);
      ask();
    }
  }
  changes = [...told.reverse(), ...changes].slice(0, SHOWN_CHANGES);
  draw();
});
events.addEventListener("error", () => connected("Connecting again …", "bad"));

at("search").addEventListener("input", drawPeople);
at("ask").addEventListener("click", ask);
