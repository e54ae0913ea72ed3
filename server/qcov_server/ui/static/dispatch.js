// One dispatch: its buttons, and the parts that change once it has ended.
"use strict";

(() => {
  const ENDED = ["COMPLETED", "FAILED", "CANCELLED"];
  const heading = () => document.getElementById("heading");
  const address = heading().getAttribute("hx-get").replace(/\/heading$/, "");
  const rest = `/api/v1${address}`;
  const name = heading().querySelector("h1").textContent;

  // `crypto.randomUUID` is only there where the page came encrypted or from this machine.
  const newId = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const text = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return text.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  };

  const again = async ({ text, yes, reuse }) => {
    if (!(await qcov.ask({ text, yes, no: "Leave it" }))) return;
    const made = await qcov.send(`${rest}/rerun`, { body: { new_id: newId(), reuse } });
    if (made) location.assign(`/dispatches/${made.id}`);
  };

  const DOES = {
    start: async () => {
      if (await qcov.send(`${rest}/start`)) qcov.tell(`${name} has started.`);
    },
    resume: () => again({
      text: `Run ${name} once more, from where it ended? What has been computed is taken over.`,
      yes: "Resume it",
      reuse: true,
    }),
    rerun: () => again({
      text: `Run ${name} once more, with the same inputs? What circuits cost is paid again.`,
      yes: "Run it",
      reuse: false,
    }),
    delete: async () => {
      const text = `Delete ${name} with all its results? This cannot be undone.`;
      if (!(await qcov.ask({ text, yes: "Delete it", danger: true }))) return;
      if (await qcov.send(rest, { method: "DELETE" })) location.assign("/");
    },
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-do]");
    if (!button) return;
    button.disabled = true;
    await DOES[button.dataset.do]();
    button.disabled = false;
  });

  // What was opened stays open, and what was closed closed, while the heading changes.
  const opened = new Map();
  let ended = ENDED.includes(heading().dataset.status);

  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.target.id !== "heading") return;
    for (const each of event.target.querySelectorAll("details[id]")) opened.set(each.id, each.open);
  });
  document.addEventListener("htmx:afterSettle", () => {
    for (const each of heading().querySelectorAll("details[id]")) {
      if (opened.has(each.id)) each.open = opened.get(each.id);
    }
    if (ended || !ENDED.includes(heading().dataset.status)) return;
    ended = true;
    for (const part of document.querySelectorAll("#result[hx-get], #cost")) {
      htmx.trigger(part, "ended");
    }
  });
})();
