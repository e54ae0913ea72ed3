// Parts of a page that are read anew: elements with an id, `hx-get`, and `refresh` among what
// triggers them. `qcov.renew(part)` reads one.
"use strict";

(() => {
  const SOON = 30; // ms; no shorter than what htmx takes until a new part listens
  const RETRY = 3000; // ms until it is tried again, where the server did not answer

  // A part whose answer is on its way is read once more after it: the answer may be older than
  // what has just happened, and what listens for a refresh will be another element then.
  const parts = new Map(); // id -> {xhr: the latest request, again, timer}

  qcov.renew = (part) => {
    const reading = parts.get(part.id);
    if (reading) reading.again = true;
    else if (part.closest(".htmx-settling")) setTimeout(renewLater, SOON, part.id); // it is new
    else htmx.trigger(part, "refresh");
  };

  const renewLater = (id) => {
    const part = document.getElementById(id);
    if (part) qcov.renew(part);
  };

  const settle = (id, reading) => {
    reading.timer = null;
    if (!reading.again) return parts.delete(id);
    reading.again = false;
    const part = document.getElementById(id);
    if (part) htmx.trigger(part, "refresh");
    if (!reading.xhr) parts.delete(id); // it has gone, or is not read by itself
  };

  const ended = (id, reading, xhr, aborted) => {
    if (reading.xhr !== xhr) return; // another request has taken its place
    reading.xhr = null;
    const unanswered = !aborted && (xhr.status === 0 || xhr.status >= 500);
    reading.again ||= unanswered;
    reading.timer = setTimeout(settle, unanswered ? RETRY : SOON, id, reading);
  };

  // Of several requests for a part, a search while it is refreshed, the latest counts: the answer to
  // the first one would take away what the second one is to fill. A part that asks for itself, each
  // second for instance, waits for all others.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const { elt, target, xhr } = event.detail;
    const { id } = target;
    if (!id) return;
    const reading = parts.get(id) ?? { xhr: null, again: false, timer: null };
    if (elt === target && (reading.xhr ?? reading.timer) !== null) {
      reading.again = true;
      event.preventDefault();
      return;
    }
    parts.set(id, reading);
    clearTimeout(reading.timer);
    reading.timer = null;
    reading.xhr = xhr;
    // htmx tells only an element that may have left the page.
    let aborted = false;
    xhr.addEventListener("abort", () => (aborted = true));
    xhr.addEventListener("loadend", () => ended(id, reading, xhr, aborted));
  });
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    const reading = parts.get(detail.target.id);
    if (reading && reading.xhr !== detail.xhr) detail.shouldSwap = false;
  });
})();
