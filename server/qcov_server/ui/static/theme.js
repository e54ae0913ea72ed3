// Runs before the page is drawn, so that it never flashes in the wrong colours.
"use strict";

(() => {
  const root = document.documentElement;
  const chosen = localStorage.getItem("qcov-theme");
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  const isDark = () =>
    root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
  const tell = () => document.dispatchEvent(new CustomEvent("qcov:theme"));

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#theme")) return;
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem("qcov-theme", root.dataset.theme);
    tell();
  });
})();
