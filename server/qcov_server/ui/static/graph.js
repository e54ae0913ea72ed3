// The graph of one dispatch: positions come from the server, statuses from the event stream.
"use strict";

(async () => {
  const box = document.getElementById("graph");
  const note = document.getElementById("graph-note");
  const dispatch = box.dataset.dispatch;
  const LARGEST = 0.85; // how large a small graph is drawn at first
  const HUGE = 1500; // from here on another way of drawing is used
  const MANY = 400; // from here on edges are straight lines, which are much faster to draw
  const FEW = 6; // more constants than that are drawn only when somebody asks for them

  const ICONS = {
    NEW_OBJECT: "waiting",
    PENDING: "waiting",
    RUNNING: "running",
    COMPLETED: "completed",
    FAILED: "failed",
    CANCELING: "cancelled",
    CANCELLED: "cancelled",
    NOT_RUN: "not-run",
  };
  const ENDS = ["COMPLETED", "FAILED", "CANCELLED"];
  // What has not begun when the dispatch ends will not be run: the server says which nodes.
  const ends = (changes) => changes.some(
    (change) => change.dispatch === dispatch && change.node === null && ENDS.includes(change.status));
  const iconOf = (status) => ICONS[status] ?? "waiting";

  const load = qcovWideGraph.load;
  const graph = await qcovWideGraph.loading;
  if (!graph) {
    note.textContent = "The graph could not be loaded.";
    return;
  }
  note.textContent = graph.nodes.length ? "" : "This dispatch has no nodes.";

  const isConstant = (node) => node.kind === "parameter";
  const constants = graph.nodes.filter(isConstant).length;
  const toggle = document.querySelector('[data-graph="constants"]');
  let withConstants = constants <= FEW || constants === graph.nodes.length;
  toggle.hidden = constants === 0 || constants === graph.nodes.length;

  const inspector = document.getElementById("inspector");
  const hint = inspector.innerHTML;
  const inspect = (id) => {
    if (id === null) inspector.innerHTML = hint;
    else htmx.ajax("GET", `/dispatches/${dispatch}/nodes/${id}`, { target: inspector });
  };
  const subs = new Map(graph.nodes.map((node) => [String(node.id), node.sub_dispatch_id]));
  const open = (id) => {
    const sub = subs.get(id);
    location.assign(sub ? `/dispatches/${sub}` : `/dispatches/${dispatch}/nodes/${id}`);
  };

  // A link may name a node: `#n-3`.
  const named = location.hash.match(/^#n-(\d+)$/)?.[1];
  const asked = named !== undefined && subs.has(named) ? named : null;

  const keys = ({ step, own, leave, fit, zoom }) => {
    box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const does = event.key.startsWith("Arrow")
        ? () => step(event.key)
        : { Enter: () => own() !== null && open(own()), Escape: leave, 0: fit,
            "+": () => zoom(1.3), "-": () => zoom(1 / 1.3) }[event.key];
      if (!does) return;
      event.preventDefault();
      does();
    });
  };

  if (graph.nodes.length > HUGE) {
    const wide = qcovWideGraph.draw(box, graph, { isConstant, withConstants, chosen: inspect, opened: open });
    const leave = () => wide.choose(null);
    // For whoever wants to look at the graph from the browser's console.
    window.qcovGraph = wide;
    if (asked !== null) wide.choose(asked, { show: true });
    const TOOLS = {
      in: () => wide.zoom(1.5),
      out: () => wide.zoom(1 / 1.5),
      fit: wide.fit,
      constants: () => {
        withConstants = !withConstants;
        toggle.setAttribute("aria-pressed", String(withConstants));
        wide.show(withConstants);
      },
    };
    keys({ ...wide, leave });
    document.addEventListener("qcov:theme", wide.repaint);
    const readAgain = async () => {
      for (const node of (await load())?.nodes ?? []) {
        wide.put(node.id, node.status);
        subs.set(String(node.id), node.sub_dispatch_id);
      }
    };
    document.addEventListener("qcov:changes", (event) => {
      if (ends(event.detail)) readAgain();
      for (const change of event.detail) {
        if (change.dispatch === dispatch && change.node !== null) wide.put(change.node, change.status);
      }
    });
    document.addEventListener("qcov:reset", readAgain);
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.dataset.graph) TOOLS[button.dataset.graph]();
      if (button && "close" in button.dataset) leave();
    });
    qcovWideGraph.ready();
    return;
  }

  const style = () => {
    const css = getComputedStyle(document.documentElement);
    const color = (name) => css.getPropertyValue(`--${name}`).trim();
    const many = graph.nodes.length > MANY;
    // From far away the symbols cannot be seen, so the nodes of a large graph are filled.
    const states = ["completed", "running", "failed"].map((state) => ({
      selector: `node[icon = "${state}"]`,
      style: {
        "border-color": color(`${state}-line`),
        ...(many && { "background-color": color(`${state}-line`) }),
      },
    }));
    return [
      {
        selector: "node",
        style: {
          shape: "round-rectangle",
          width: 196,
          height: 50,
          "corner-radius": 9,
          "background-color": color(many ? "line" : "panel"),
          "border-width": 1.25,
          "border-color": color("line-strong"),
          "background-image": (node) => `/static/status/${node.data("icon")}.svg`,
          "background-width": 20,
          "background-height": 20,
          "background-position-x": 12,
          "background-clip": "none",
          label: "data(label)",
          color: color("text"),
          "font-family": css.getPropertyValue("--sans"),
          "font-size": 17,
          "text-valign": "center",
          "text-halign": "center",
          "text-wrap": "ellipsis",
          "text-max-width": 146,
          "text-margin-x": 10,
          "min-zoomed-font-size": 6,
        },
      },
      {
        selector: 'node[kind = "sublattice"]',
        style: { "border-style": "double", "border-width": 4 },
      },
      {
        selector: 'node[kind = "parameter"], node[kind = "collection"], node[kind = "element"]',
        style: {
          width: 150,
          height: 34,
          "corner-radius": 17,
          "background-color": color("ground"),
          "background-width": 14,
          "background-height": 14,
          "background-position-x": 8,
          color: color("muted"),
          "font-family": css.getPropertyValue("--mono"),
          "font-size": 15,
          "text-max-width": 110,
        },
      },
      ...states,
      {
        // A constant has no state worth a colour: it is there from the beginning.
        selector: 'node[kind = "parameter"]',
        style: {
          width: 130,
          height: 28,
          "corner-radius": 14,
          "background-color": color("ground"),
          "background-image": "none",
          "border-color": color("line-strong"),
          "border-style": "dashed",
          "font-size": 13,
          "text-margin-x": 0,
        },
      },
      { selector: "node.hidden", style: { display: "none" } },
      {
        selector: "node:selected",
        style: {
          "border-color": color("accent"),
          "border-width": 3,
          "background-color": color("accent-ground"),
        },
      },
      {
        selector: "edge",
        style: {
          width: 1.25,
          "line-color": color("line-strong"),
          "curve-style": many ? "haystack" : "round-taxi",
          "taxi-direction": "downward",
          "taxi-turn": "-22px", // just above the target, where no node stands in the way
          "taxi-radius": 8,
          "target-arrow-shape": many ? "none" : "triangle",
          "target-arrow-color": color("line-strong"),
          "arrow-scale": 0.8,
          "overlay-opacity": 0,
          opacity: many ? 0.5 : 1,
        },
      },
      {
        selector: "edge.near",
        style: { "line-color": color("accent"), "target-arrow-color": color("accent"), opacity: 1 },
      },
      { selector: "node:active", style: { "overlay-opacity": 0 } },
      { selector: "core", style: { "active-bg-size": 0 } },
    ];
  };

  // For whoever wants to look at the graph from the browser's console.
  const cy = (window.qcovGraph = cytoscape({
    container: box,
    elements: {
      nodes: graph.nodes.map((node) => ({
        data: {
          id: String(node.id),
          label: node.label,
          kind: node.kind,
          status: node.status,
          icon: iconOf(node.status),
          sub: node.sub_dispatch_id,
        },
        position: { x: node.x, y: node.y },
      })),
      edges: graph.edges.map((edge, index) => ({
        data: { id: `e${index}`, source: String(edge.source), target: String(edge.target) },
      })),
    },
    layout: { name: "preset" },
    style: style(),
    minZoom: 0.02,
    maxZoom: 2.5,
    autoungrabify: true,
    boxSelectionEnabled: false,
    hideEdgesOnViewport: graph.nodes.length > 2000,
  }));

  const visible = () => cy.nodes().not(".hidden");
  const fit = () => {
    if (!graph.nodes.length) return;
    const { x1, y1, w, h } = visible().boundingBox();
    const [width, height] = [cy.width() - 72, cy.height() - 92]; // the buttons stand below
    const zoom = Math.min(LARGEST, width / w, height / h);
    cy.viewport({
      zoom,
      pan: { x: 36 + (width - w * zoom) / 2 - x1 * zoom, y: 36 + (height - h * zoom) / 2 - y1 * zoom },
    });
  };

  // -- constants, and where nodes stand -------------------------------------------------------

  // How many nodes beside each other can still be read.
  const columns = () =>
    graph.nodes.length > MANY ? Infinity : Math.max(3, Math.floor(box.clientWidth / 110));

  const places = (limit) => {
    const shown = withConstants ? graph.nodes : graph.nodes.filter((node) => !isConstant(node));
    return qcovWideGraph.places(shown, limit);
  };

  let folded = 0;
  const arrange = () => {
    folded = columns();
    const found = places(folded);
    toggle.setAttribute("aria-pressed", String(withConstants));
    cy.batch(() => {
      for (const node of cy.nodes()) {
        const place = found.get(node.id());
        node.toggleClass("hidden", !place);
        if (place) node.position(place);
      }
    });
    // A flat graph needs no tall window; the style sheet sets the limits.
    const { w, h } = visible().boundingBox();
    const needed = h * Math.min(LARGEST, (box.clientWidth - 72) / w) + 92;
    box.closest(".workbench").style.setProperty("--wanted", `${Math.round(needed)}px`);
  };
  const draw = () => {
    if (!graph.nodes.length) return;
    arrange();
    fit();
  };
  draw();

  // Until somebody moves it, all of the graph is seen, whatever becomes of its window.
  let moved = false;
  new ResizeObserver(() => {
    cy.resize();
    if (moved) return;
    if (columns() === folded) fit();
    else draw();
  }).observe(box);
  cy.on("dragpan pinchzoom scrollzoom", () => (moved = true));

  const put = (id, told) => {
    const node = cy.getElementById(String(id));
    const status = qcovWideGraph.later(node.data("status"), told);
    node.data({ status, icon: iconOf(status) });
  };

  document.addEventListener("qcov:theme", () => cy.style(style()));
  const readAgain = async () => {
    const now = await load();
    cy.batch(() => {
      for (const node of now?.nodes ?? []) {
        put(node.id, node.status);
        subs.set(String(node.id), node.sub_dispatch_id);
      }
    });
  };
  document.addEventListener("qcov:changes", (event) => {
    if (ends(event.detail)) readAgain();
    cy.batch(() => {
      for (const change of event.detail) {
        if (change.dispatch !== dispatch || change.node === null) continue;
        put(change.node, change.status);
      }
    });
  });

  document.addEventListener("qcov:reset", readAgain);

  // -- choosing a node ------------------------------------------------------------------------

  const choose = (id) => {
    const node = cy.getElementById(id);
    cy.elements().unselect();
    cy.edges().removeClass("near");
    node.select();
    node.connectedEdges().addClass("near");
    inspect(id);
  };

  const leave = () => {
    cy.elements().unselect();
    cy.edges().removeClass("near");
    inspect(null);
  };

  if (asked !== null) choose(asked);
  cy.on("tap", "node", (event) => choose(event.target.id()));
  cy.on("tap", (event) => {
    if (event.target === cy) leave();
  });
  cy.on("dbltap", "node", (event) => open(event.target.id()));

  // Arrows go along the edges, and to the neighbours in the same row.
  const nearest = (some, x) =>
    some.toArray().reduce((best, each) =>
      best && Math.abs(best.position("x") - x) <= Math.abs(each.position("x") - x) ? best : each, null);

  const step = (key) => {
    const from = cy.$("node:selected");
    if (!from.length) return choose(visible()[0].id());
    const { x, y } = from.position();
    const row = visible().filter((node) => node.position("y") === y);
    const next = {
      ArrowUp: () => nearest(from.incomers("node").not(".hidden"), x),
      ArrowDown: () => nearest(from.outgoers("node").not(".hidden"), x),
      ArrowLeft: () => nearest(row.filter((node) => node.position("x") < x), x),
      ArrowRight: () => nearest(row.filter((node) => node.position("x") > x), x),
    }[key]();
    if (!next) return;
    choose(next.id());
    const place = next.renderedPosition();
    const inside = place.x > 0 && place.y > 0 && place.x < cy.width() && place.y < cy.height();
    if (!inside) cy.center(next);
  };
  cy.on("mouseover", "node", () => (box.style.cursor = "pointer"));
  cy.on("mouseout", "node", () => (box.style.cursor = ""));

  const TOOLS = {
    in: () => cy.zoom({ level: cy.zoom() * 1.3, renderedPosition: middle() }),
    out: () => cy.zoom({ level: cy.zoom() / 1.3, renderedPosition: middle() }),
    fit,
    constants: () => {
      withConstants = !withConstants;
      draw();
    },
  };
  const middle = () => ({ x: cy.width() / 2, y: cy.height() / 2 });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.graph) {
      moved = button.dataset.graph === "in" || button.dataset.graph === "out";
      TOOLS[button.dataset.graph]();
    }
    if (button && "close" in button.dataset) leave();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !box.contains(event.target)) leave();
  });
  const zoom = (factor) => cy.zoom({ level: cy.zoom() * factor, renderedPosition: middle() });
  const own = () => (cy.$("node:selected").length ? cy.$("node:selected").id() : null);
  if (graph.nodes.length) keys({ step, own, leave, fit, zoom });
  qcovWideGraph.ready();
})();
