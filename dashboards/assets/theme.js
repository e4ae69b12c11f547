"use strict";
// Light or dark: as the system is until the reader presses the button, then as chosen, kept in this browser.
(() => {
  const CHOICES = ["system", "light", "dark"];
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  const apply = (choice) => {
    const isDark = choice === "system" ? system.matches : choice === "dark";
    root.dataset.colours = choice;
    root.dataset.agThemeMode = isDark ? "dark" : "light"; // the name that the tables look for
    root.dispatchEvent(new CustomEvent("colours", { detail: { isDark } }));
  };
  const kept = () => {
    try {
      return window.localStorage.getItem("evolve-colours");
    } catch {
      return null; // a browser that keeps nothing
    }
  };
  const keep = (choice) => {
    try {
      window.localStorage.setItem("evolve-colours", choice);
    } catch {
      // for this page alone, then
    }
  };

  window.evolveColours = { isDark: () => root.dataset.agThemeMode === "dark" };
  apply(CHOICES.includes(kept()) ? kept() : "system");
  system.addEventListener("change", () => apply(root.dataset.colours));
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".colours")) return;
    const choice = CHOICES[(CHOICES.indexOf(root.dataset.colours) + 1) % CHOICES.length];
    keep(choice);
    apply(choice);
  });
})();
