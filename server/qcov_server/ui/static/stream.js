// The one event stream of a browser: a shared worker that every tab talks to. A page that cannot
// have one loads this file as a script and has a stream of its own.
//
// A page says {hello: {topics, hidden, asOf}} when it comes or changes, where `asOf` is the id of
// the last event before it was made, and {bye: true} when it goes. It is told {state},
// {reset: true} and {events: [[kind, list], ...]}.
"use strict";

(() => {
  // What the server may send; each is an event of the same name on the page, `qcov:changes` etc.
  const KINDS = ["changes", "circuits", "jobs", "triggers", "log"];
  const HIDDEN = 3000; // ms between two deliveries to a page that nobody looks at
  const PATIENCE = [500, 1000, 3000, 5000]; // ms until a stream that was closed is opened again

  const pages = new Map(); // port -> {topics, hidden, waiting, timer}
  let source = null;
  let carried = null; // the topics of the stream that is open
  let last = "";
  let state = "waiting";
  let failed = 0;
  let retry = null;

  const deliver = (port, page) => {
    clearTimeout(page.timer);
    page.timer = null;
    const { waiting } = page;
    page.waiting = [];
    if (waiting.some((message) => message.reset)) return port.postMessage({ reset: true });
    const lists = new Map();
    for (const [kind, list] of waiting.flatMap((message) => message.events)) {
      lists.set(kind, [...(lists.get(kind) ?? []), ...list]);
    }
    if (lists.size) port.postMessage({ events: [...lists] });
  };

  const give = (message) => {
    for (const [port, page] of pages) {
      page.waiting.push(message);
      if (!page.hidden) deliver(port, page);
      else page.timer ??= setTimeout(() => deliver(port, page), HIDDEN);
    }
  };

  const show = (now) => {
    state = now;
    for (const port of pages.keys()) port.postMessage({ state });
  };

  const topics = () => [...new Set([...pages.values()].flatMap((page) => page.topics))].sort();

  const close = () => {
    source?.close();
    source = null;
    clearTimeout(retry);
    retry = null;
  };

  const open = () => {
    close();
    carried = topics().join();
    const query = new URLSearchParams(topics().map((topic) => ["topic", topic]));
    if (last) query.set("after", last);
    source = new EventSource(`/api/v1/events?${query}`);
    source.onopen = () => {
      failed = 0;
      show("live");
    };
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return show("lost"); // it tries again itself
      refused();
    };
    source.addEventListener("hello", (event) => (last = event.lastEventId));
    source.addEventListener("reset", (event) => {
      last = event.lastEventId;
      give({ reset: true });
    });
    source.addEventListener("out", () => refused()); // the login has ended
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        give({ events: [[kind, JSON.parse(event.data)]] });
      });
    }
  };

  // The server has refused the stream: it is full, or the login has ended.
  const refused = async () => {
    close();
    retry = setTimeout(open, PATIENCE[Math.min(failed++, PATIENCE.length - 1)]);
    const answer = await fetch("/api/v1/status").catch(() => null);
    show(answer?.status === 401 ? "out" : "lost");
  };

  // Whether a page that is as of this event has in it all that the other pages were told.
  const current = (asOf) => {
    const [server, number] = asOf.split("-");
    const [lastServer, lastNumber] = last.split("-");
    return server === lastServer && Number(number) >= Number(lastNumber);
  };

  const hear = (port, message) => {
    if (message.bye) {
      clearTimeout(pages.get(port)?.timer);
      pages.delete(port);
      if (!pages.size) close();
      return;
    }
    const known = pages.get(port);
    const page = known ?? { waiting: [], timer: null };
    pages.set(port, Object.assign(page, message.hello));
    port.postMessage({ state });
    if (!last) last = page.asOf;
    else if (!known && !current(page.asOf)) port.postMessage({ reset: true });
    if (!page.hidden && page.waiting.length) deliver(port, page);
    if (!source && !retry) open();
    else if (source && carried !== topics().join()) open();
  };

  const join = (port) => {
    port.onmessage = (event) => hear(port, event.data);
  };

  if (typeof window === "undefined") {
    self.onconnect = (event) => join(event.ports[0]);
  } else {
    const { port1, port2 } = new MessageChannel();
    join(port1);
    window.qcovStream(port2);
  }
})();
