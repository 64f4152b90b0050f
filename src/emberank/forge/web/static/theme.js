// A plain script at the head of the page: a chosen theme must stand before the first paint.
"use strict";
(() => {
  const root = document.documentElement;
  const order = ["auto", "light", "dark"];
  const stored = () => {
    try {
      return localStorage.getItem("emberank.theme");
    } catch {
      return null; // storage is switched off: the system's theme it is
    }
  };
  const show = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  let theme = order.includes(stored()) ? stored() : "auto";
  show(theme);
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    const name = () => {
      button.textContent = { auto: "Auto", light: "Light", dark: "Dark" }[theme];
      button.setAttribute("aria-label", `Theme: ${theme}. Change it`);
    };
    button.hidden = false;
    name();
    button.addEventListener("click", () => {
      theme = order[(order.indexOf(theme) + 1) % order.length];
      show(theme);
      name();
      try {
        localStorage.setItem("emberank.theme", theme);
      } catch {
        // it lasts as long as this page then
      }
    });
  });
})();
