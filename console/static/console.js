// Improvements of the pages; every page can be read without them.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

// Ask for confirmation of what cannot be undone.
for (const button of document.querySelectorAll("[data-confirm]")) {
  button.addEventListener("click", (event) => {
    if (!confirm(button.dataset.confirm)) event.preventDefault();
  });
}

// Reload a part that shows progress until it is over, every second or `data-every` seconds. If the session has ended, the answer is a
// redirection; reloading the whole page then leads to the sign-in page and back.
async function refresh(part) {
  const again = () => begin(part);
  if (document.hidden) return again();
  let answer;
  try {
    answer = await fetch(part.dataset.refresh, { redirect: "manual" });
  } catch {
    return again(); // until the network is back
  }
  if (answer.type === "opaqueredirect") return location.reload();
  if (!answer.ok) return again();
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const next = page.body.firstElementChild;
  part.replaceWith(next);
  begin(next);
}
function begin(part) {
  if (part.dataset.refresh) setTimeout(refresh, 1000 * (part.dataset.every || 1), part);
}
document.querySelectorAll("[data-refresh]").forEach(begin);

// On a phone the current page's tab may be out of sight. (scrollIntoView would begin tabbing there.)
const tabs = document.querySelector(".side");
const tab = tabs?.querySelector("[aria-current]");
if (tab) tabs.scrollLeft = tab.offsetLeft - (tabs.clientWidth - tab.offsetWidth) / 2;

for (const list of document.querySelectorAll(".choices")) {
  const boxes = [...list.querySelectorAll("input[type=checkbox]")];
  const count = list.querySelector("[data-count]");
  list.addEventListener("change", () => {
    count.textContent = `${boxes.filter((box) => box.checked).length} of ${boxes.length} chosen`;
  });
  const filter = list.querySelector("[data-filter]");
  if (!filter) continue;
  filter.hidden = false;
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    for (const box of boxes) {
      const choice = box.closest(".choice");
      choice.hidden = !box.checked && !choice.textContent.toLowerCase().includes(wanted);
    }
  });
  filter.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault(); // filter, but do not send the form
  });
}
