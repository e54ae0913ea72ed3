// What changes on a page by itself: what the event stream brings, and times that pass.
"use strict";

(() => {
  // -- events ---------------------------------------------------------------------------------
  //
  // One shared worker has the stream of all tabs (stream.js). What it brings becomes events of the
  // document: `qcov:changes`, `qcov:circuits`, `qcov:jobs`, `qcov:triggers`, ..., each with a list,
  // and `qcov:reset` when everything is to be read anew. A page that wants more names it:
  // <main data-topics="log">.

  const connection = document.getElementById("connection");
  const STATES = { live: "Live", waiting: "Connecting", lost: "Reconnecting", out: "Logged out" };
  const dispatch = document.querySelector("[data-dispatch]")?.dataset.dispatch ?? null;
  const wanted = document.querySelector("[data-topics]")?.dataset.topics.split(" ") ?? [];
  let port = null;

  const show = (state) => {
    if (connection.dataset.state === state) return;
    connection.dataset.state = state;
    connection.querySelector(".words").textContent = STATES[state];
    document.getElementById("out").hidden = state !== "out";
    document.body.toggleAttribute("data-still", state === "out");
  };
  document.addEventListener("qcov:out", () => show("out"));
  document.addEventListener("htmx:responseError", ({ detail }) => {
    if (detail.xhr.status === 401) show("out");
  });

  const say = (kind, detail) => document.dispatchEvent(new CustomEvent(`qcov:${kind}`, { detail }));

  const hear = ({ data }) => {
    if (data.state) show(data.state);
    // What is told only on request is not remembered for those who come a moment later.
    if (data.reset || (data.state === "live" && wanted.length)) {
      say("reset");
      refreshSoon(null);
    }
    for (const [kind, list] of data.events ?? []) {
      const mine = dispatch ? list.filter((one) => one.dispatch === dispatch) : list;
      if (!mine.length) continue;
      say(kind, mine);
      if (kind === "changes") refreshSoon(new Set(mine.map((change) => change.node)));
    }
  };

  const { access, bound, asOf } = document.body.dataset;
  const whose = `${access} ${bound}`;
  const hello = () => {
    port.postMessage({ hello: { topics: wanted, hidden: document.hidden, asOf, whose } });
  };

  const listen = (given) => {
    port = given;
    port.onmessage = hear;
    hello();
  };

  const connect = () => {
    if (window.SharedWorker) return listen(new SharedWorker("/static/stream.js", "qcov").port);
    window.qcovStream = listen;
    const script = document.createElement("script");
    script.src = "/static/stream.js";
    document.head.append(script);
  };

  document.addEventListener("visibilitychange", () => port && hello());
  addEventListener("pagehide", () => port && port.postMessage({ bye: true }));
  addEventListener("pageshow", (event) => {
    if (event.persisted && port) hello(); // it has slept
  });

  // Changes that come together refresh the page's parts once: the first soon, more after a while,
  // which is longer where refreshing takes long.
  const WITH_CHANGES = "[data-live], #heading, #nodes";
  const SOON = 30;
  const AGAIN = 150;
  let pending = null;
  let refreshed = 0;
  let took = 0;
  let measured = true;
  let changed = new Set();

  const refreshSoon = (nodes) => {
    changed = nodes && changed ? new Set([...changed, ...nodes]) : null;
    pending ??= setTimeout(refresh, Math.max(SOON, refreshed + Math.max(AGAIN, 4 * took) - Date.now()));
  };

  const refresh = () => {
    for (const part of document.querySelectorAll(WITH_CHANGES)) qcov.renew(part);
    const shown = document.querySelector("[data-shown]");
    if (shown && (!changed || changed.has(Number(shown.dataset.shown)))) qcov.renew(shown);
    refreshed = Date.now();
    measured = false;
    pending = null;
    changed = new Set();
  };

  // Parts of other pages: <div data-live-on="jobs triggers" hx-trigger="refresh">.
  const later = new Map();
  for (const kind of ["changes", "circuits", "jobs", "triggers", "log", "reset"]) {
    document.addEventListener(`qcov:${kind}`, () => {
      if (document.getElementById("tail")?.getAttribute("aria-pressed") === "false") return;
      for (const part of document.querySelectorAll("[data-live-on]")) {
        const here = part.dataset.liveOn.split(" ").includes(kind);
        if (kind === "reset" ? part.matches(WITH_CHANGES) : !here) continue;
        if (later.has(part.id)) continue;
        const fire = () => {
          later.delete(part.id);
          const there = document.getElementById(part.id);
          if (there) qcov.renew(there);
        };
        later.set(part.id, setTimeout(fire, kind === "jobs" ? SOON : 2 * AGAIN));
      }
    });
  }

  // -- times ----------------------------------------------------------------------------------

  const ago = (date) => {
    const seconds = (Date.now() - date.getTime()) / 1000;
    if (seconds < 10) return "just now";
    if (seconds < 60) return `${Math.floor(seconds)} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return date.toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
  };

  // The same as `duration` in present.py, for what still runs.
  const duration = (seconds) => {
    if (seconds < 1) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
    if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
    const whole = Math.round(seconds);
    const two = (number) => String(number).padStart(2, "0");
    if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
    const minutes = Math.floor(whole / 60);
    return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
  };

  const tick = () => {
    if (connection.dataset.state === "out") return;
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const date = new Date(time.dateTime);
      time.textContent = ago(date);
      time.title = date.toLocaleString();
    }
    for (const time of document.querySelectorAll("time[data-clock]")) {
      const date = new Date(time.dateTime);
      const today = date.toDateString() === new Date().toDateString();
      time.textContent = today ? date.toLocaleTimeString() : date.toLocaleString();
      time.title = date.toLocaleString();
      delete time.dataset.clock;
    }
    for (const running of document.querySelectorAll("[data-since]")) {
      running.textContent = duration(Date.now() / 1000 - Number(running.dataset.since));
    }
  };

  // -- buttons --------------------------------------------------------------------------------

  const cancel = async (button) => {
    const text = `Cancel ${button.dataset.name}? What has completed stays.`;
    if (!(await qcov.ask({ text, yes: "Cancel it", no: "Let it run", danger: true }))) return;
    button.disabled = true;
    const address = `/api/v1/dispatches/${button.dataset.cancel}/cancel`;
    if (await qcov.send(address)) qcov.tell(`${button.dataset.name}: cancelled.`);
    else button.disabled = false;
    refreshSoon(null);
  };

  const copy = async (button) => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.dataset.done = "";
    setTimeout(() => delete button.dataset.done, 1200);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.cancel) cancel(button);
    if (button?.dataset.copy) copy(button);
    if (button?.id === "tail") {
      const live = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", live);
      if (live) say("reset");
    }
  });

  document.addEventListener("htmx:afterSettle", () => {
    if (!measured) took = Math.min(Date.now() - refreshed, 500);
    measured = true;
    tick();
  });

  tick();
  setInterval(tick, 1000);
  document.addEventListener("DOMContentLoaded", connect); // when the scripts after this one listen
})();
