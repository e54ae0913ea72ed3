// The list of dispatches: rows that are chosen together, and what is done to all of them.
"use strict";

(() => {
  const bar = document.getElementById("selection");
  const words = document.getElementById("selected");
  const ENDED = ["COMPLETED", "FAILED", "CANCELLED"];
  const chosen = new Map(); // statuses by id: they stay chosen while the list changes
  const AT_ONCE = 4; // requests: a browser has six connections
  let last = null; // the row from which Shift reaches to the next one

  const boxes = () => [...document.querySelectorAll("#rows .c-pick input[id^=p-]")];
  const rowOf = (box) => box.closest("tr");

  const show = () => {
    const all = boxes();
    for (const box of all) {
      const { id, status } = rowOf(box).dataset;
      box.checked = chosen.has(id);
      if (box.checked) chosen.set(id, status);
      rowOf(box).toggleAttribute("data-chosen", box.checked);
    }
    const here = all.filter((box) => box.checked).length;
    const whole = document.getElementById("pick-all");
    if (whole) {
      whole.checked = here > 0 && here === all.length;
      whole.indeterminate = here > 0 && here < all.length;
    }
    bar.hidden = chosen.size === 0;
    const elsewhere = chosen.size - here;
    words.textContent = `${chosen.size} selected${elsewhere ? `, ${elsewhere} not on this page` : ""}`;
    const ended = [...chosen.values()].filter((status) => ENDED.includes(status)).length;
    bar.querySelector("[data-bulk=cancel]").disabled = ended === chosen.size;
    bar.querySelector("[data-bulk=delete]").disabled = ended === 0;
  };

  const put = (box, on) => {
    const { id, status } = rowOf(box).dataset;
    if (on) chosen.set(id, status);
    else chosen.delete(id);
  };

  document.addEventListener("click", (event) => {
    const box = event.target.closest(".c-pick input");
    if (!box) return;
    if (box.id === "pick-all") {
      for (const each of boxes()) put(each, box.checked);
    } else {
      const all = boxes();
      const from = all.findIndex((each) => each.id === last);
      const to = all.indexOf(box);
      const [low, high] = event.shiftKey && from >= 0 ? [from, to].sort((a, b) => a - b) : [to, to];
      for (const each of all.slice(low, high + 1)) put(each, box.checked);
      last = box.id;
    }
    show();
  });

  // -- all at once ----------------------------------------------------------------------------

  const VERBS = {
    cancel: {
      method: "POST",
      address: (id) => `/api/v1/dispatches/${id}/cancel`,
      fits: (status) => !ENDED.includes(status),
      text: (many) => `Cancel ${many}? What has completed stays.`,
      left: "have ended already",
      yes: "Cancel them",
      no: "Let them run",
      said: "cancelled",
    },
    delete: {
      method: "DELETE",
      address: (id) => `/api/v1/dispatches/${id}`,
      fits: (status) => ENDED.includes(status),
      text: (many) => `Delete ${many}, with all results? This cannot be undone.`,
      left: "still run and stay",
      yes: "Delete them",
      no: "Keep them",
      said: "deleted",
    },
  };
  const counted = (number) => (number === 1 ? "1 dispatch" : `${number} dispatches`);

  const doAll = async (verb) => {
    const ids = [...chosen].filter(([, status]) => verb.fits(status)).map(([id]) => id);
    const left = chosen.size - ids.length;
    const rest = left ? ` ${left} ${verb.left}.` : "";
    const text = verb.text(counted(ids.length)) + rest;
    if (!(await qcov.ask({ text, yes: verb.yes, no: verb.no, danger: true }))) return;
    let done = 0;
    const waiting = [...ids];
    const worker = async () => {
      for (let id = waiting.pop(); id; id = waiting.pop()) {
        if (!(await qcov.send(verb.address(id), { method: verb.method }))) continue;
        chosen.delete(id);
        done += 1;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    if (done) qcov.tell(`${counted(done)} ${verb.said}.`);
    qcov.renew(document.getElementById("rows"));
    show();
  };

  bar.addEventListener("click", (event) => {
    const what = event.target.closest("button")?.dataset.bulk;
    if (what === "none") chosen.clear();
    if (VERBS[what]) doAll(VERBS[what]);
    show();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !chosen.size || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input[type=search]")) return;
    chosen.clear();
    show();
  });
  document.addEventListener("htmx:afterSwap", show);
  show();
})();
