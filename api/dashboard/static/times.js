// Times in the reader's own words and zone; the page comes with UTC.
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

export function localize(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const time = new Date(element.dateTime);
    element.textContent = describe((time - Date.now()) / 1000) ?? absolute.format(time);
    element.title = absolute.format(time);
  }
}

function describe(seconds) {
  if (Math.abs(seconds) > 7 * 86400) return null;

  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) return relative.format(Math.round(seconds / length), unit);
  }
  return relative.format(0, "minute");
}
