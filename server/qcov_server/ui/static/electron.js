// The page of an electron: what it prints is appended while it runs, the rest is drawn anew.
"use strict";

(() => {
  const streams = document.getElementById("streams");
  const { dispatch, node } = streams.dataset;
  const address = `/api/v1/dispatches/${encodeURIComponent(dispatch)}/nodes/${node}/streams`;
  const PATIENCE = 20; // seconds that the server may wait for something new
  const LARGEST = 1 << 21; // letters of a stream that a page keeps
  const OVER = new Set(["COMPLETED", "FAILED", "CANCELLED"]);
  const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

  // -- one stream -----------------------------------------------------------------------------

  class Stream {
    constructor(name) {
      this.box = streams.querySelector(`[data-stream="${name}"]`);
      this.box.textContent = this.box.textContent;
      this.text = this.box.firstChild ?? this.box.appendChild(new Text());
      this.end = 0;
      this.toEnd();
    }

    toEnd() {
      this.box.scrollTop = this.box.scrollHeight;
    }

    add(part, anew) {
      const { box, text } = this;
      const reading = box.scrollHeight - box.scrollTop - box.clientHeight > 8;
      const skipped = anew ? 0 : part.start - this.end;
      if (anew && part.text !== text.data) text.data = "";
      if (skipped > 0) text.appendData(`\n[${skipped.toLocaleString("en")} bytes too fast to show]\n`);
      if (!(anew && text.data)) this.write(part.text);
      if (text.length > LARGEST) text.deleteData(0, text.length - LARGEST / 2);
      this.end = part.end;
      if (!reading) this.toEnd();
    }

    // What follows a carriage return takes the place of its line.
    write(printed) {
      const { text } = this;
      const [first, ...over] = printed.split("\r");
      text.appendData(first);
      for (const piece of over) {
        const begin = text.data.lastIndexOf("\n") + 1;
        text.deleteData(begin, text.length - begin);
        text.appendData(piece);
      }
    }
  }

  const out = new Stream("stdout");
  const err = new Stream("stderr");

  // -- following ------------------------------------------------------------------------------

  // A hidden page asks for nothing: a browser has six connections for each server.
  const seen = () =>
    document.hidden
      ? new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }))
      : null;

  const ask = async (source) => {
    const timeout = source ? PATIENCE : 0;
    const query = new URLSearchParams({ source, stdout: out.end, stderr: err.end, timeout });
    try {
      const answer = await fetch(`${address}?${query}`);
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  };

  const follow = async () => {
    let source = "";
    for (;;) {
      await seen();
      const said = await ask(source);
      if (!said) {
        await sleep(2000);
        continue;
      }
      const anew = said.source !== source;
      out.add(said.stdout, anew);
      err.add(said.stderr, anew);
      source = said.source;
      if (OVER.has(said.status)) break;
    }
    for (const { box } of [out, err]) box.dataset.empty = "Nothing was printed.";
  };

  if ("running" in streams.dataset) follow();

  // -- the rest of the page -------------------------------------------------------------------

  const refresh = () => qcov.renew(document.getElementById("electron"));
  document.addEventListener("qcov:changes", (event) => {
    const mine = (change) => change.dispatch === dispatch && String(change.node) === node;
    if (event.detail.some(mine)) refresh();
  });
  document.addEventListener("qcov:reset", refresh);
})();
