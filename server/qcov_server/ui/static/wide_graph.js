// Graphs of thousands of nodes. Cytoscape takes seconds for ten thousand; here they are rectangles
// and lines on one canvas, found again by the grid that they stand on. What is too small to be read
// is left out: first names, then the gaps between nodes, then lines while the graph is moved.
"use strict";

(() => {
  const COLUMN = 220; // distances between the centres of neighbours, as the server lays them out
  const ROW = 100;
  const WIDE = 196;
  const HIGH = 50;
  const READABLE = 0.32; // the scale from which names are drawn
  const CLOSEST = 1.2;
  const SETTLED = 90; // ms without a movement until lines are drawn again

  const ENDED = ["COMPLETED", "FAILED", "CANCELLED"];

  /** The later one of two statuses: what was read may be older than what an event has told. */
  const later = (known, told) => (ENDED.includes(known) && !ENDED.includes(told) ? known : told);

  /** The server's rows without the gaps that left out nodes leave, each folded to `limit` nodes. */
  const places = (nodes, limit) => {
    const rows = new Map();
    for (const node of nodes) {
      if (!rows.has(node.y)) rows.set(node.y, []);
      rows.get(node.y).push(node);
    }
    const found = new Map();
    let line = 0;
    for (const [, row] of [...rows].sort(([one], [other]) => one - other)) {
      row.sort((one, other) => one.x - other.x);
      const lines = Math.max(1, Math.ceil(row.length / limit));
      const width = Math.ceil(row.length / lines);
      for (let start = 0; start < row.length; start += width, line += 1) {
        const part = row.slice(start, start + width);
        part.forEach((node, index) => {
          const x = (index - (part.length - 1) / 2) * COLUMN;
          found.set(String(node.id), { x, y: line * ROW });
        });
      }
    }
    return found;
  };

  /** Draw a graph; what is chosen is told to `chosen(id)`, and what is opened to `opened(id)`. */
  const draw = (box, graph, { isConstant, withConstants, chosen, opened }) => {
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    box.append(canvas);
    const pen = canvas.getContext("2d");
    let constants = withConstants;
    let nodes = []; // those that are drawn
    let byId = new Map();
    let near = new Map(); // what is above and below each
    let grid = new Map();
    let lines = null;
    let bounds = null;
    let view = { x: 0, y: 0, scale: 1 };
    let own = null; // the one that is chosen
    let moving = 0;
    let colors = {};

    const read = () => {
      const css = getComputedStyle(document.documentElement);
      const names = ["ground", "panel", "line", "line-strong", "text", "muted", "accent", "accent-ground",
        "completed-line", "running-line", "failed-line", "failed", "running"];
      colors = Object.fromEntries(names.map((each) => [each, css.getPropertyValue(`--${each}`).trim()]));
      colors.sans = css.getPropertyValue("--sans");
    };

    const arrange = () => {
      const shown = constants ? graph.nodes : graph.nodes.filter((node) => !isConstant(node));
      const found = places(shown, Math.max(12, Math.ceil(Math.sqrt(shown.length))));
      nodes = shown.map((node) => ({ ...node, id: String(node.id), ...found.get(String(node.id)) }));
      byId = new Map(nodes.map((node) => [node.id, node]));
      near = new Map(nodes.map((node) => [node.id, { above: [], below: [] }]));
      grid = new Map();
      bounds = { left: Infinity, top: 0, right: -Infinity, bottom: 0 };
      for (const node of nodes) {
        bounds.left = Math.min(bounds.left, node.x - COLUMN / 2);
        bounds.right = Math.max(bounds.right, node.x + COLUMN / 2);
        bounds.bottom = Math.max(bounds.bottom, node.y);
        const line = Math.round(node.y / ROW);
        if (!grid.has(line)) grid.set(line, []);
        grid.get(line).push(node);
      }
      for (const line of grid.values()) line.sort((one, other) => one.x - other.x);
      lines = new Path2D();
      for (const edge of graph.edges) {
        const [source, target] = [byId.get(String(edge.source)), byId.get(String(edge.target))];
        if (!source || !target) continue;
        near.get(source.id).below.push(target);
        near.get(target.id).above.push(source);
        lines.moveTo(source.x, source.y + HIGH / 2);
        lines.lineTo(target.x, target.y - HIGH / 2);
      }
    };

    const fit = () => {
      const [wide, high] = [box.clientWidth - 48, box.clientHeight - 84];
      const [w, h] = [bounds.right - bounds.left, bounds.bottom + ROW];
      const scale = Math.min(0.85, wide / w, high / h);
      view = {
        scale,
        x: 24 + (wide - w * scale) / 2 - bounds.left * scale,
        y: 24 + (high - h * scale) / 2 + (ROW / 2) * scale,
      };
      soon();
    };

    // -- drawing ------------------------------------------------------------------------------

    const FILLS = { COMPLETED: "completed-line", FAILED: "failed", RUNNING: "running", CANCELING: "running" };

    const paint = () => {
      const ratio = devicePixelRatio || 1;
      const [wide, high] = [box.clientWidth, box.clientHeight];
      if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(high * ratio)) {
        canvas.width = Math.round(wide * ratio);
        canvas.height = Math.round(high * ratio);
        canvas.style.width = `${wide}px`;
        canvas.style.height = `${high}px`;
      }
      const { x, y, scale } = view;
      pen.setTransform(1, 0, 0, 1, 0, 0);
      pen.clearRect(0, 0, canvas.width, canvas.height);
      pen.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * x, ratio * y);
      if (!moving) {
        pen.strokeStyle = colors["line-strong"];
        pen.lineWidth = Math.min(1.2, 0.7 / scale);
        pen.globalAlpha = scale < 0.1 ? 0.35 : 0.7;
        pen.stroke(lines);
        pen.globalAlpha = 1;
      }
      if (own) neighbours(scale);
      const seen = inSight(wide, high);
      // a gap that is thinner than a pixel only makes the colours pale
      const [w, h] = [Math.max(WIDE, 3 / scale), Math.max(HIGH, 2 / scale)];
      const groups = new Map();
      for (const node of seen) {
        const fill = isConstant(node) ? "ground" : FILLS[node.status] ?? "line";
        if (!groups.has(fill)) groups.set(fill, []);
        groups.get(fill).push(node);
      }
      for (const [fill, group] of groups) {
        pen.fillStyle = colors[fill];
        for (const node of group) pen.fillRect(node.x - w / 2, node.y - h / 2, w, h);
      }
      if (scale >= READABLE) words(seen);
      if (own) {
        pen.strokeStyle = colors.accent;
        pen.lineWidth = 3 / scale;
        pen.strokeRect(own.x - w / 2 - 2 / scale, own.y - h / 2 - 2 / scale, w + 4 / scale, h + 4 / scale);
      }
    };

    const neighbours = (scale) => {
      const { above, below } = near.get(own.id);
      pen.strokeStyle = colors.accent;
      pen.lineWidth = Math.max(1.5, 1.6 / scale);
      pen.beginPath();
      for (const [one, other] of [...above.map((a) => [a, own]), ...below.map((b) => [own, b])]) {
        pen.moveTo(one.x, one.y + HIGH / 2);
        pen.lineTo(other.x, other.y - HIGH / 2);
      }
      pen.stroke();
    };

    const words = (seen) => {
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.font = `17px ${colors.sans}`;
      for (const node of seen) {
        // on a panel of its own: names must be readable on any colour
        if (!isConstant(node)) {
          pen.fillStyle = colors.panel;
          pen.fillRect(node.x - WIDE / 2 + 10, node.y - HIGH / 2 + 3, WIDE - 13, HIGH - 6);
        }
        pen.fillStyle = node.status === "FAILED" ? colors.failed : colors.text;
        const sign = { FAILED: "✕ ", COMPLETED: "✓ ", RUNNING: "● ", CANCELLED: "⊘ ", NOT_RUN: "⊖ " }[node.status] ?? "";
        const text = (isConstant(node) ? "" : sign) + node.label;
        pen.fillText(text.length > 20 ? `${text.slice(0, 19)}…` : text, node.x + 4, node.y, WIDE - 22);
      }
    };

    const inSight = (wide, high) => {
      const { x, y, scale } = view;
      const [left, right] = [(-x - WIDE) / scale - WIDE, (wide - x) / scale + WIDE];
      const seen = [];
      const [first, last] = [Math.floor(-y / scale / ROW) - 1, Math.ceil((high - y) / scale / ROW) + 1];
      for (let line = first; line <= last; line += 1) {
        for (const node of grid.get(line) ?? []) {
          if (node.x >= left && node.x <= right) seen.push(node);
        }
      }
      return seen;
    };

    let asked = 0;
    const soon = () => {
      asked ||= requestAnimationFrame(() => {
        asked = 0;
        paint();
      });
    };

    const move = (next) => {
      view = next;
      clearTimeout(moving);
      moving = setTimeout(() => {
        moving = 0;
        soon();
      }, SETTLED);
      soon();
    };

    const zoom = (factor, at = { x: box.clientWidth / 2, y: box.clientHeight / 2 }) => {
      const least = Math.min(box.clientWidth / (bounds.right - bounds.left), CLOSEST) / 4;
      const scale = Math.min(CLOSEST, Math.max(view.scale * factor, least));
      const grown = scale / view.scale;
      move({ scale, x: at.x - (at.x - view.x) * grown, y: at.y - (at.y - view.y) * grown });
    };

    // -- choosing -----------------------------------------------------------------------------

    const choose = (id, { show = false } = {}) => {
      own = id === null ? null : byId.get(String(id)) ?? null;
      if (own && show) reveal(own);
      soon();
      chosen(own ? own.id : null);
    };

    const reveal = (node) => {
      const scale = Math.max(view.scale, READABLE);
      const [x, y] = [node.x * view.scale + view.x, node.y * view.scale + view.y];
      const inside = x > 60 && y > 40 && x < box.clientWidth - 60 && y < box.clientHeight - 60;
      if (inside && scale === view.scale) return;
      move({ scale, x: box.clientWidth / 2 - node.x * scale, y: box.clientHeight / 2 - node.y * scale });
    };

    const pointed = (event) => {
      const { left, top } = box.getBoundingClientRect();
      return { x: event.clientX - left, y: event.clientY - top };
    };

    const under = (point) => {
      const x = (point.x - view.x) / view.scale;
      const y = (point.y - view.y) / view.scale;
      const line = grid.get(Math.round(y / ROW)) ?? [];
      const node = line.length ? nearest(line, x) : null;
      return node && Math.abs(node.x - x) <= COLUMN / 2 ? node : null;
    };
    const nearest = (some, x) =>
      some.reduce((best, each) => (Math.abs(each.x - x) < Math.abs(best.x - x) ? each : best));

    const step = (key) => {
      if (!own) return choose(nodes[0]?.id ?? null, { show: true });
      const { above, below } = near.get(own.id);
      const line = grid.get(Math.round(own.y / ROW));
      const at = line.indexOf(own);
      const next = {
        ArrowUp: () => above.length && nearest(above, own.x),
        ArrowDown: () => below.length && nearest(below, own.x),
        ArrowLeft: () => line[at - 1],
        ArrowRight: () => line[at + 1],
      }[key]();
      if (next) choose(next.id, { show: true });
    };

    let dragged = null;
    box.addEventListener("pointerdown", (event) => {
      dragged = { ...pointed(event), view, far: 0 };
      box.setPointerCapture(event.pointerId);
    });
    box.addEventListener("pointermove", (event) => {
      const at = pointed(event);
      if (!dragged) {
        box.style.cursor = under(at) ? "pointer" : "";
        return;
      }
      dragged.far = Math.max(dragged.far, Math.hypot(at.x - dragged.x, at.y - dragged.y));
      if (dragged.far <= 4) return;
      move({ ...view, x: dragged.view.x + at.x - dragged.x, y: dragged.view.y + at.y - dragged.y });
    });
    box.addEventListener("pointerup", (event) => {
      const far = dragged?.far ?? 0;
      dragged = null;
      if (far <= 4) choose(under(pointed(event))?.id ?? null);
    });
    box.addEventListener("pointercancel", () => (dragged = null));
    box.addEventListener("dblclick", () => own && opened(own.id));
    box.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 400), pointed(event));
    }, { passive: false });
    new ResizeObserver(() => {
      fit();
      paint();
    }).observe(box);

    read();
    arrange();
    fit();
    paint();
    return {
      choose,
      fit,
      zoom,
      step,
      own: () => own?.id ?? null,
      at: (id) => {
        const node = byId.get(String(id));
        return { x: node.x * view.scale + view.x, y: node.y * view.scale + view.y };
      },
      nodes: () => nodes,
      repaint: () => {
        read();
        soon();
      },
      put: (id, status) => {
        const node = byId.get(String(id));
        if (!node) return;
        node.status = later(node.status, status);
        soon();
      },
      show: (all) => {
        constants = all;
        arrange();
        own = own && (byId.get(own.id) ?? null);
        fit();
      },
    };
  };

  const dispatch = document.getElementById("graph").dataset.dispatch;

  const load = async () => {
    const answer = await fetch(`/dispatches/${dispatch}/graph`);
    if (!answer.ok) return null;
    const { nodes, edges } = await answer.json();
    return {
      nodes: nodes.map(([id, label, kind, status, sub, x, y]) =>
        ({ id, label, kind, status, sub_dispatch_id: sub, x, y })),
      edges: edges.map(([source, target]) => ({ source, target })),
    };
  };

  // What happens while the graph is on its way is kept, and told once it is there.
  let early = [];
  for (const kind of ["qcov:changes", "qcov:reset"]) {
    document.addEventListener(kind, ({ detail }) => early?.push([kind, detail]));
  }
  const ready = () => {
    const told = early;
    early = null;
    for (const [kind, detail] of told) document.dispatchEvent(new CustomEvent(kind, { detail }));
  };

  // It is asked for before Cytoscape has been read.
  window.qcovWideGraph = { draw, places, later, load, loading: load(), ready };
})();
