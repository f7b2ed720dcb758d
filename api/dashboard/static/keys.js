// The arrow keys lead to the previous and the next image; in a grid, they move from face to face.
export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest("input, select, textarea")) return;

    const target = targetOf(event.key);
    if (!target) return;
    event.preventDefault();
    if (target.closest(".grid")) target.focus();
    else target.click();
  });
}

function targetOf(key) {
  const links = [...document.querySelectorAll(".grid a")];
  const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (!step) return null;
  if (!links.length) return document.querySelector(step > 0 ? "a[rel=next]" : "a[rel=prev]");

  const index = links.indexOf(document.activeElement);
  return links[index + step] ?? (step > 0 ? document.querySelector("a[rel=next]") : null);
}
