// When the nodes of a dispatch waited and ran: bars on a canvas that draws only what is in sight.
"use strict";

(async () => {
  const box = document.getElementById("timeline");
  const note = document.getElementById("timeline-note");
  const inspector = document.getElementById("inspector");
  const hint = inspector.innerHTML;
  const dispatch = box.dataset.dispatch;
  const ROW = 24;
  const AXIS = 28;
  const EDGE = 14; // from the last bar to the right edge
  const RUNNING = ["RUNNING", "CANCELING"];
  const ENDED = ["COMPLETED", "FAILED", "CANCELLED"];

  // The box scrolls; the canvas stays where it is and draws what belongs there.
  const space = document.createElement("div");
  const canvas = document.createElement("canvas");
  canvas.setAttribute("aria-hidden", "true");
  box.append(canvas, space);
  const pen = canvas.getContext("2d");

  let shown = null; // what the server said
  let heard = 0; // when it said so
  let from = 0; // what part of the time is seen
  let length = 0;
  let whole = true; // all of it, whatever it becomes
  let chosen = -1;
  let hovered = -1;
  let colors = {};

  const load = async () => {
    const answer = await fetch(`/dispatches/${dispatch}/timeline`);
    if (!answer.ok) return false;
    shown = await answer.json();
    heard = performance.now();
    return true;
  };

  const now = () => shown.now + (performance.now() - heard) / 1000;
  const lives = () => shown.ended === null;
  const total = () => Math.max(lives() ? now() : shown.ended, 0.001);
  const labels = () => Math.min(220, Math.round(box.clientWidth * 0.3));
  const width = () => Math.max(box.clientWidth - labels() - EDGE, 10);
  const at = (time) => labels() + ((time - from) / length) * width();

  const read = () => {
    const css = getComputedStyle(document.documentElement);
    const names = ["ground", "panel", "raised", "line", "line-strong", "text", "muted", "accent",
      "accent-ground", "completed", "running", "failed"];
    colors = Object.fromEntries(names.map((each) => [each, css.getPropertyValue(`--${each}`).trim()]));
    colors.sans = css.getPropertyValue("--sans");
    colors.mono = css.getPropertyValue("--mono");
  };

  const told = (seconds) => {
    if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 60) return `${+seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${minutes} m ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
    return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} m`;
  };

  const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400];
  const step = () => {
    const least = (length / width()) * 90;
    for (let small = 0.001; small < 1; small *= 10) {
      for (const each of [1, 2, 5]) if (each * small >= least) return each * small;
    }
    return STEPS.find((each) => each >= least) ?? Math.ceil(least / 86400) * 86400;
  };

  const colorOf = (status) =>
    status === "COMPLETED" ? colors.completed
      : status === "FAILED" ? colors.failed
        : RUNNING.includes(status) ? colors.running : colors["line-strong"];

  // A shape beside the colour: failed bars have a notch at their end, cancelled ones are hollow.
  const bar = (status, left, right, y) => {
    const wide = Math.max(right - left, 2);
    pen.fillStyle = pen.strokeStyle = colorOf(status);
    if (status === "CANCELLED") return pen.strokeRect(left + 0.5, y + 6.5, wide, ROW - 13);
    pen.beginPath();
    pen.roundRect(left, y + 6, wide, ROW - 12, Math.min(3, wide / 2));
    pen.fill();
    if (status === "FAILED") pen.fillRect(left + wide - 2, y + 3, 3, ROW - 6);
  };

  const draw = () => {
    if (!shown) return;
    const ratio = devicePixelRatio || 1;
    const [wide, high] = [box.clientWidth, box.clientHeight];
    if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(high * ratio)) {
      canvas.width = Math.round(wide * ratio);
      canvas.height = Math.round(high * ratio);
      canvas.style.width = `${wide}px`;
      canvas.style.height = `${high}px`;
    }
    if (whole) [from, length] = [0, total()];
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = colors.ground;
    pen.fillRect(0, 0, wide, high);
    const edge = labels();
    const first = Math.floor(box.scrollTop / ROW);
    const last = Math.min(shown.rows.length, first + Math.ceil(high / ROW) + 1);

    for (let index = first; index < last; index += 1) {
      if (index !== chosen && index !== hovered) continue;
      pen.fillStyle = index === chosen ? colors["accent-ground"] : colors.raised;
      pen.fillRect(0, AXIS + index * ROW - box.scrollTop, wide, ROW);
    }
    ticks(edge, wide, high);

    pen.save();
    pen.beginPath();
    pen.rect(edge, AXIS, wide - edge, high - AXIS);
    pen.clip();
    for (let index = first; index < last; index += 1) {
      const [, , status, ready, began, end] = shown.rows[index];
      const y = AXIS + index * ROW - box.scrollTop;
      const open = !ENDED.includes(status) && lives();
      const begins = began ?? (open ? now() : ready);
      if (ready !== null && begins > ready) {
        pen.fillStyle = colors["line-strong"];
        pen.globalAlpha = 0.55;
        pen.fillRect(at(ready), y + ROW / 2 - 2, Math.max(at(begins) - at(ready), 1), 4);
        pen.globalAlpha = 1;
      }
      if (began !== null) bar(status, at(began), at(end ?? (open ? now() : total())), y);
    }
    if (lives()) {
      pen.fillStyle = colors.accent;
      pen.fillRect(at(now()), AXIS, 1, high);
    }
    pen.restore();

    pen.textBaseline = "middle";
    for (let index = first; index < last; index += 1) names(index, edge);
    pen.fillStyle = colors.ground;
    pen.fillRect(0, 0, edge, AXIS);
    pen.fillStyle = colors.line;
    pen.fillRect(edge - 1, 0, 1, high);
    pen.fillRect(0, AXIS - 1, wide, 1);
  };

  const ticks = (edge, wide, high) => {
    const apart = step();
    pen.font = `11px ${colors.sans}`;
    pen.textBaseline = "middle";
    for (let mark = Math.ceil(from / apart) * apart; mark <= from + length * 1.05; mark += apart) {
      const x = Math.round(at(mark));
      if (x < edge || x > wide) continue;
      pen.fillStyle = colors.line;
      pen.fillRect(x, AXIS, 1, high);
    }
    pen.fillStyle = colors.ground;
    pen.fillRect(0, 0, wide, AXIS);
    for (let mark = Math.ceil(from / apart) * apart; mark <= from + length * 1.05; mark += apart) {
      const x = Math.round(at(mark));
      const text = mark === 0 ? "0" : told(mark);
      if (x < edge || x + pen.measureText(text).width + 4 > wide) continue;
      pen.fillStyle = colors.muted;
      pen.fillText(text, x + 4, AXIS / 2);
    }
  };

  const names = (index, edge) => {
    const [, name, status, , , , sub] = shown.rows[index];
    const y = AXIS + index * ROW - box.scrollTop + ROW / 2;
    if (y < AXIS - ROW) return;
    pen.font = `12.5px ${colors.sans}`;
    pen.fillStyle = status === "FAILED" ? colors.failed : colors.text;
    const sign = { FAILED: "✕ ", CANCELLED: "⊘ ", NOT_RUN: "⊖ " }[status] ?? "";
    pen.fillText(fitted(`${sign}${name}${sub ? " ▸" : ""}`, edge - 26), 14, y);
  };

  const fitted = (text, most) => {
    if (pen.measureText(text).width <= most) return text;
    let [low, high] = [0, text.length];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (pen.measureText(`${text.slice(0, middle)}…`).width <= most) low = middle;
      else high = middle - 1;
    }
    return `${text.slice(0, low)}…`;
  };

  // -- when to draw ---------------------------------------------------------------------------

  let asked = 0;
  const soon = () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      draw();
    });
  };

  const fitHeight = () => {
    space.style.height = `${AXIS + shown.rows.length * ROW + 8 - box.clientHeight}px`;
    box.closest(".workbench").style.setProperty("--wanted", `${AXIS + shown.rows.length * ROW + 64}px`);
  };

  const say = () => {
    note.textContent = shown.rows.length ? "" : "No electron has been called.";
    fitHeight();
    soon();
  };

  // What happens while it is on its way makes it be read again.
  let reading = null;
  let missed = false;
  const readAgain = () => {
    missed = shown === null;
    if (missed) return;
    reading ??= setTimeout(async () => {
      reading = null;
      if (await load()) say();
    }, 250);
  };
  document.addEventListener("qcov:changes", (event) => {
    if (event.detail.some((change) => change.dispatch === dispatch)) readAgain();
  });
  document.addEventListener("qcov:reset", readAgain);

  read();
  if (!(await load())) {
    note.textContent = "The timeline could not be loaded.";
    return;
  }
  say();
  if (missed) readAgain();
  // For whoever wants to look at it from the browser's console.
  window.qcovTimeline = { rows: () => shown.rows, chosen: () => chosen, drawn: () => [from, length] };

  document.addEventListener("qcov:theme", () => {
    read();
    soon();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    read();
    soon();
  });
  new ResizeObserver(() => {
    fitHeight();
    draw();
  }).observe(box);
  setInterval(() => {
    if (lives() && !document.hidden) soon();
  }, 200);

  // -- choosing and moving --------------------------------------------------------------------

  const rowAt = (event) => {
    const y = event.clientY - box.getBoundingClientRect().top;
    const index = Math.floor((y - AXIS + box.scrollTop) / ROW);
    return y < AXIS || index >= shown.rows.length ? -1 : index;
  };

  const choose = (index) => {
    chosen = index;
    soon();
    if (index < 0) {
      inspector.innerHTML = hint;
      return;
    }
    const top = index * ROW;
    if (top < box.scrollTop) box.scrollTop = top;
    const lowest = top + AXIS + ROW - box.clientHeight;
    if (lowest > box.scrollTop) box.scrollTop = lowest;
    htmx.ajax("GET", `/dispatches/${dispatch}/nodes/${shown.rows[index][0]}`, { target: inspector });
  };

  const open = (index) => {
    const [id, , , , , , sub] = shown.rows[index];
    location.assign(sub ? `/dispatches/${sub}` : `/dispatches/${dispatch}/nodes/${id}`);
  };

  const look = (start, long) => {
    const all = total();
    length = Math.min(Math.max(long, all / 100000, 0.0005), all);
    from = Math.min(Math.max(start, 0), all - length);
    whole = length === all;
    soon();
  };
  const zoom = (factor, middle = from + length / 2) =>
    look(middle - (middle - from) * factor, length * factor);

  const TOOLS = {
    in: () => zoom(0.6),
    out: () => zoom(1 / 0.6),
    fit: () => look(0, total()),
  };

  box.addEventListener("scroll", soon);
  box.addEventListener("mousemove", (event) => {
    const index = rowAt(event);
    if (index === hovered) return;
    hovered = index;
    box.title = index < 0 ? "" : described(shown.rows[index]);
    soon();
  });
  const described = ([id, name, status, ready, began, end]) => {
    const ran = began === null ? "" : `, ran ${told((end ?? total()) - began)}`;
    const waited = began !== null && ready !== null && began > ready ? `, waited ${told(began - ready)}` : "";
    return `${name} (node ${id}): ${status.toLowerCase().replace("_", " ")}${waited}${ran}`;
  };
  box.addEventListener("mouseleave", () => {
    hovered = -1;
    soon();
  });
  let dragged = null;
  box.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch") dragged = { x: event.clientX, from, far: 0 };
  });
  box.addEventListener("pointermove", (event) => {
    if (!dragged || !event.buttons) return;
    const moved = event.clientX - dragged.x;
    dragged.far = Math.max(dragged.far, Math.abs(moved));
    if (dragged.far > 4 && !whole) look(dragged.from - (moved / width()) * length, length);
  });
  box.addEventListener("click", (event) => {
    const far = dragged?.far ?? 0;
    dragged = null;
    if (far <= 4) choose(rowAt(event));
  });
  box.addEventListener("dblclick", (event) => {
    const index = rowAt(event);
    if (index >= 0) open(index);
  });
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.shiftKey) return; // that scrolls
    event.preventDefault();
    const x = event.clientX - box.getBoundingClientRect().left - labels();
    if (event.ctrlKey) zoom(Math.exp(event.deltaY / 300), from + (x / width()) * length);
    else look(from + ((event.deltaY || event.deltaX) / width()) * length, length);
  }, { passive: false });

  const page = () => Math.max(1, Math.floor((box.clientHeight - AXIS) / ROW) - 1);
  const KEYS = {
    ArrowDown: () => choose(Math.min(chosen + 1, shown.rows.length - 1)),
    ArrowUp: () => choose(Math.max(chosen - 1, 0)),
    PageDown: () => choose(Math.min(chosen + page(), shown.rows.length - 1)),
    PageUp: () => choose(Math.max(chosen - page(), 0)),
    Home: () => choose(0),
    End: () => choose(shown.rows.length - 1),
    ArrowLeft: () => look(from - length / 5, length),
    ArrowRight: () => look(from + length / 5, length),
    Enter: () => chosen >= 0 && open(chosen),
    Escape: () => choose(-1),
    "+": TOOLS.in,
    "-": TOOLS.out,
    0: TOOLS.fit,
  };
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !shown.rows.length) return;
    if (!Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.time) TOOLS[button.dataset.time]();
    if (button && "close" in button.dataset) choose(-1);
  });
})();
