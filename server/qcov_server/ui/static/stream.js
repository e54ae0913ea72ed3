// The one event stream of a browser: a shared worker that every tab talks to. A page that cannot
// have one loads this file as a script and has a stream of its own.
//
// A page says {hello: {topics, hidden, asOf, whose}} when it comes or changes, where `asOf` is the id
// of the last event before it was made and `whose` what its visitor may see, and {bye: true} when
// it goes. It is told {state}, {reset: true} and {events: [[kind, list], ...]}.
"use strict";

(() => {
  // What the server may send; each is an event of the same name on the page, `qcov:changes` etc.
  const KINDS = ["changes", "circuits", "jobs", "triggers", "log"];
  const HIDDEN = 3000; // ms between two deliveries to a page that nobody looks at
  const KEPT = 5000; // events, for pages that come after them and were made before
  const PATIENCE = [500, 1000, 3000, 5000]; // ms until a stream that was closed is opened again

  const pages = new Map(); // port -> {topics, hidden, waiting, timer}
  let source = null;
  let carried = null; // the topics of the stream that is open
  let whose = null; // who had logged in when the latest page came
  let last = ""; // the id of what was heard last
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

  // An id is of a server and the number of an event in it.
  const serverOf = (id) => id.split("-")[0];
  const numberOf = (id) => Number(id.split("-")[1]);

  // What was heard, and as of when nothing is missing there. Of the messages that come together
  // only the last one has an id: the others' number is known when it is here.
  let heard = []; // {event: [kind, list], number}
  let count = 0; // of events in all lists
  let whole = "";

  const forget = (id) => {
    heard = [];
    count = 0;
    whole = id;
  };

  const keep = (event, id) => {
    heard.push({ event, number: Infinity });
    count += event[1].length;
    if (id !== last) {
      last = id;
      for (const one of heard) one.number = Math.min(one.number, numberOf(id));
    }
    while (count > KEPT) {
      const { event: oldest, number } = heard.shift();
      count -= oldest[1].length;
      if (number < Infinity) whole = `${serverOf(last)}-${number}`;
    }
  };

  // Tell a new page what has happened since it was made.
  const catchUp = (port, asOf) => {
    const known = serverOf(asOf) === serverOf(whole) && numberOf(asOf) >= numberOf(whole);
    if (!known) return port.postMessage({ reset: true });
    const missed = heard.filter(({ number }) => number > numberOf(asOf));
    if (missed.length) port.postMessage({ events: missed.map(({ event }) => event) });
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
    query.set("after", last);
    source = new EventSource(`/api/v1/events?${query}`);
    source.onopen = () => {
      failed = 0;
      show("live");
    };
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return show("lost"); // it tries again itself
      refused();
    };
    // A stream that was opened without an id says where it begins.
    for (const kind of ["hello", "reset"]) {
      source.addEventListener(kind, ({ lastEventId }) => {
        const missed = kind === "reset" || (last && last !== lastEventId);
        forget(lastEventId);
        last = lastEventId;
        if (missed) give({ reset: true });
      });
    }
    source.addEventListener("out", () => refused()); // the login has ended
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        const told = [kind, JSON.parse(event.data)];
        keep(told, event.lastEventId || last);
        give({ events: [told] });
      });
    }
  };

  // The server has refused the stream: it is full, or the login has ended.
  const refused = async () => {
    close();
    retry = setTimeout(open, PATIENCE[Math.min(failed++, PATIENCE.length - 1)]);
    const answer = await fetch("/api/v1/status").catch(() => null);
    if (!source) show(answer?.status === 401 ? "out" : "lost"); // or a new one says how it is
  };

  const hear = (port, message) => {
    if (message.bye) {
      clearTimeout(pages.get(port)?.timer);
      pages.delete(port);
      if (!pages.size) close();
      return;
    }
    const known = pages.get(port);
    const page = known ?? { waiting: [], timer: null, asOf: "" };
    if (!known && !source) {
      close(); // it does not wait for the next try: its visitor may have logged in since the last one
      failed = 0;
      state = "waiting";
    }
    pages.set(port, Object.assign(page, message.hello));
    port.postMessage({ state });
    // Who logs in anew may see other things: what the stream before brought says nothing of them.
    const other = !known && page.whose !== whose;
    if (other) {
      whose = page.whose;
      forget(page.asOf);
      const earlier = serverOf(page.asOf) === serverOf(last) && numberOf(page.asOf) < numberOf(last);
      if (!last || earlier) last = page.asOf;
    } else if (!known) {
      catchUp(port, page.asOf);
    }
    if (!page.hidden && page.waiting.length) deliver(port, page);
    if (!source && !retry) open();
    else if (source && (other || carried !== topics().join())) open();
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
