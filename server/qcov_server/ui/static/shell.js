// What every page has around it: keys, dialogs, buttons that ask the server for something, and the
// words that say how that went. Pages call `qcov.tell(text)` and `await qcov.ask({text, yes})`.
"use strict";

(() => {
  // -- words ----------------------------------------------------------------------------------

  const told = document.getElementById("told");
  const SHOWN = { done: 5000, failed: 12000 };

  /** Say what became of something; `how` is "done" or "failed". */
  const tell = (text, how = "done") => {
    const words = document.createElement("p");
    words.dataset.how = how;
    words.textContent = text;
    told.replaceChildren(...[...told.children].slice(-2), words);
    setTimeout(() => words.remove(), SHOWN[how]);
  };

  /** Ask before something is done; true if the person wants it. */
  const ask = ({ text, yes = "OK", no = "Keep it", danger = false }) => {
    const dialog = document.getElementById("ask");
    const [refuse, agree] = dialog.querySelectorAll(".button");
    dialog.querySelector("p").textContent = text;
    refuse.textContent = no;
    agree.textContent = yes;
    agree.classList.toggle("danger", danger);
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise((answer) => {
      const closed = () => answer(dialog.returnValue === "yes");
      dialog.addEventListener("close", closed, { once: true });
    });
  };

  /** Ask the server for something; its answer, or null after saying why there is none. */
  const send = async (address, { method = "POST", body = {} } = {}) => {
    let answer;
    try {
      answer = await fetch(address, {
        method,
        headers: {
          "content-type": "application/json",
          accept: "application/json",
          "qcov-key": localStorage.getItem("qcov-key") ?? "", // see key.js
        },
        body: JSON.stringify(body),
      });
    } catch {
      tell("The server does not answer.", "failed");
      return null;
    }
    const text = await answer.text();
    const found = text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : {};
    if (answer.ok) return found;
    if (answer.status === 401) {
      document.dispatchEvent(new CustomEvent("qcov:out")); // the page says so itself
      return null;
    }
    tell(found.detail ?? `The server answered ${answer.status}.`, "failed");
    return null;
  };

  window.qcov = { ask, send, tell };

  // A button that says all itself: <button data-send="/api/v1/..." data-body='{}' data-ask="..."
  // data-yes="..." data-said="...">. `qcov:done` on it tells scripts that it was done.
  const press = async (button) => {
    const { send: address, method, body, ask: text, yes, no, said } = button.dataset;
    const danger = button.classList.contains("danger");
    if (text && !(await ask({ text, yes, no, danger }))) return;
    button.disabled = true;
    const answer = await send(address, { method, body: JSON.parse(body ?? "{}") });
    button.disabled = false;
    if (answer === null) return;
    tell(answer.told ?? said ?? "Done.");
    button.dispatchEvent(new CustomEvent("qcov:done", { bubbles: true, detail: answer }));
    const parts = button.closest("[hx-get]");
    if (parts) qcov.renew(parts);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.send) press(button);
    if (button?.id === "keys") document.getElementById("help").showModal();
    if (event.target instanceof HTMLDialogElement) event.target.close(); // beside it
  });

  // -- keys -----------------------------------------------------------------------------------

  const rows = () => [...document.querySelectorAll("[data-rows] > tbody > tr")];
  const opener = (row) => row.querySelector(".whole, a[href], button");

  const move = (step) => {
    const all = rows().filter(opener);
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step;
    const target = all[next] && opener(all[next]);
    target?.focus({ focusVisible: true });
    all[next]?.scrollIntoView({ block: "nearest" });
  };

  const choose = () => {
    const row = document.activeElement?.closest("tr");
    row?.querySelector("input[type=checkbox]")?.click();
  };

  let going = 0; // until when the second letter of `g d` counts

  const go = (key) => {
    const place = document.querySelector(`.places [data-key="${CSS.escape(key)}"]`);
    if (place) location.assign(place.href);
  };

  const KEYS = {
    "?": () => document.getElementById("help").showModal(),
    "/": () => document.querySelector("main input[type=search]")?.focus(),
    j: () => move(1),
    k: () => move(-1),
    x: choose,
    g: () => (going = Date.now() + 1500),
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=radio], [type=checkbox]), textarea, select");
    if (event.key === "Escape" && typing?.type === "search" && !typing.value) typing.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    const second = Date.now() < going;
    going = 0;
    if (second && event.key !== "g") return go(event.key);
    const act = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
    if (!act) return;
    event.preventDefault();
    act();
  });
})();
