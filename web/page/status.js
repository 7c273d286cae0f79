"use strict";
// Refreshes the page in place. What the reader has opened, focused, selected or scrolled to stays: only what differs
// is changed.
(() => {
  const button = document.getElementById("pause");
  const note = document.getElementById("refresh");
  const every = Number(button.dataset.seconds);
  const auto = `Auto-refresh every ${every} s.`;
  let paused = false;
  let asking = false;

  const matching = (olds, next, taken) => olds.find((old) => !taken.has(old) && old.nodeName === next.nodeName &&
    (old.dataset?.key ?? old.id) === (next.dataset?.key ?? next.id));

  const update = (old, next) => {
    if (old.isEqualNode(next)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = next.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !next.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const olds = [...old.childNodes];
    const taken = new Set();
    let place = old.firstChild;
    for (const child of [...next.childNodes]) {
      const same = matching(olds, child, taken);
      if (!same) {
        old.insertBefore(child, place);
        continue;
      }
      taken.add(same);
      if (same === place) place = place.nextSibling;
      else old.insertBefore(same, place);
      update(same, child);
    }
    for (const child of olds) {
      if (!taken.has(child)) child.remove();
    }
  };

  const show = (text, stale) => {
    if (note.textContent !== text) note.textContent = text;
    document.body.classList.toggle("stale", stale);
  };

  const refresh = async () => {
    if (paused || asking) return;
    asking = true;
    try {
      const response = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(30000) });
      if (!response.ok) throw new Error(response.status);
      const next = new DOMParser().parseFromString(await response.text(), "text/html");
      if (paused) return;
      document.title = next.title;
      update(document.getElementById("status"), next.getElementById("status"));
      show(auto, false);
    } catch {
      const at = document.querySelector("#as-of time").textContent;
      show(`The exporter does not answer. This is what it said at ${at}; it is asked again every ${every} s.`, true);
    } finally {
      asking = false;
    }
  };

  show(auto, false);
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    show(paused ? "Auto-refresh is paused." : auto, false);
    refresh();
  });
  setInterval(refresh, every * 1000);
})();
