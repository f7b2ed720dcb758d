// Keeps a page fresh while its work runs: the server draws it again, and what differs is exchanged.
import { localize } from "./times.js";

export function keepFresh() {
  const seconds = Number(document.querySelector("main").dataset.refresh);
  if (seconds) setTimeout(refresh, seconds * 1000);
}

async function refresh() {
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (response.redirected) {
      location.assign(response.url); // To sign in again.
      return;
    }
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    localize(page);
    document.title = page.title;
    exchange(document.querySelector("main"), page.querySelector("main"));
  } catch {
    // The service may be restarting: the next turn tries again.
  }
  keepFresh();
}

// Changes what differs, so that the focus, open parts and pictures stay as they are.
function exchange(old, fresh) {
  if (old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }

  for (const { name } of [...(old.attributes ?? [])]) {
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes ?? []) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }

  const olds = [...old.childNodes];
  const parts = [...fresh.childNodes];
  parts.forEach((part, index) => (olds[index] ? exchange(olds[index], part) : old.append(part)));
  olds.slice(parts.length).forEach((part) => part.remove());
}
