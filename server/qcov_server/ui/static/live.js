// What changes on a page by itself: the event stream, times that pass, and the few buttons.
"use strict";

(() => {
  const graph = document.getElementById("graph");
  const dispatch = graph ? graph.dataset.dispatch : null;

  // -- the event stream -----------------------------------------------------------------------

  const connection = document.getElementById("connection");
  const STATES = { live: "Live", waiting: "Connecting", lost: "Reconnecting" };
  let source = null;
  let opened = false;

  const show = (state) => {
    connection.dataset.state = state;
    connection.querySelector(".words").textContent = STATES[state];
  };

  // A hidden page gives its connection back: a browser has six for each server.
  const connect = () => {
    if (source || document.hidden) return;
    const query = dispatch ? `?dispatch=${encodeURIComponent(dispatch)}` : "";
    source = new EventSource(`/api/v1/events${query}`);
    source.onopen = () => {
      show("live");
      if (opened) readAnew();
      opened = true;
    };
    source.onerror = () => {
      show("lost");
      if (source.readyState !== EventSource.CLOSED) return;
      disconnect();
      setTimeout(connect, 3000);
    };
    source.addEventListener("reset", readAnew);
    source.addEventListener("changes", (event) => {
      const changes = JSON.parse(event.data);
      document.dispatchEvent(new CustomEvent("qcov:changes", { detail: changes }));
      refreshSoon(new Set(changes.map((change) => change.node)));
    });
  };

  const readAnew = () => {
    document.dispatchEvent(new CustomEvent("qcov:reset"));
    refreshSoon(null);
  };

  const disconnect = () => {
    if (source) source.close();
    source = null;
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      disconnect();
      show("waiting");
    } else {
      connect();
    }
  });

  // Changes that come together refresh the page's parts once.
  let pending = null;
  let changed = new Set();

  const refreshSoon = (nodes) => {
    changed = nodes && changed ? new Set([...changed, ...nodes]) : null;
    pending ??= setTimeout(refresh, 300);
  };

  const refresh = () => {
    for (const part of document.querySelectorAll("[data-live], #heading, #nodes")) {
      htmx.trigger(part, "refresh");
    }
    const shown = document.querySelector("[data-shown]");
    if (shown && (!changed || changed.has(Number(shown.dataset.shown)))) {
      htmx.trigger(shown, "refresh");
    }
    pending = null;
    changed = new Set();
  };

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
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const date = new Date(time.dateTime);
      time.textContent = ago(date);
      time.title = date.toLocaleString();
    }
    for (const running of document.querySelectorAll("[data-since]")) {
      running.textContent = duration(Date.now() / 1000 - Number(running.dataset.since));
    }
  };

  // -- buttons and keys -----------------------------------------------------------------------

  const cancel = async (button) => {
    if (!confirm(`Cancel ${button.dataset.name}? What has completed stays.`)) return;
    button.disabled = true;
    const answer = await fetch(`/api/v1/dispatches/${button.dataset.cancel}/cancel`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    if (!answer.ok) alert((await answer.json()).detail);
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
  });

  document.addEventListener("keydown", (event) => {
    const search = document.querySelector("input[type=search]");
    const typing = event.target.closest("input:not([type=radio]), textarea, select");
    if (event.key === "/" && search && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      search.focus();
    }
  });

  document.addEventListener("htmx:afterSettle", tick);

  tick();
  setInterval(tick, 1000);
  connect();
})();
