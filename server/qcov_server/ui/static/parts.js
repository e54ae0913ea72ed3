// Parts of a page that are read anew by themselves: elements with an id, `hx-get`, and
// `hx-trigger="refresh"`. `qcov.renew(part)` reads one.
"use strict";

(() => {
  const SOON = 30; // ms; no shorter than what htmx takes until a new part listens
  const RETRY = 3000; // ms after which it is tried again, where the server did not answer

  // A part whose answer is on its way is read once more after it: the answer may be older than
  // what has just happened, and who listens for a refresh will be another element then.
  const reading = new Map(); // id -> whether to read it once more

  qcov.renew = (part) => {
    if (reading.has(part.id)) reading.set(part.id, true);
    else htmx.trigger(part, "refresh");
  };

  const renewLater = (id, delay) => {
    setTimeout(() => {
      const part = document.getElementById(id);
      if (part) qcov.renew(part);
    }, delay);
  };

  document.addEventListener("htmx:beforeRequest", ({ detail }) => {
    const { id } = detail.target;
    if (id) reading.set(id, reading.get(id) ?? false);
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    const { id } = detail.target;
    const more = reading.get(id);
    reading.delete(id);
    const unanswered = detail.xhr.status === 0 || detail.xhr.status >= 500;
    if (unanswered) renewLater(id, RETRY);
    else if (more) renewLater(id, SOON);
  });
})();
