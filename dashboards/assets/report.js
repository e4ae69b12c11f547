"use strict";
(() => {
  const templates = JSON.parse(document.getElementById("templates").textContent);
  const lighter = Object.entries(JSON.parse(document.getElementById("on-dark").textContent));
  const isTouch = window.matchMedia("(pointer: coarse)").matches;
  const config = {
    responsive: true,
    displaylogo: false,
    // Plotly offers to upload charts unless told otherwise; a report stays where it is.
    showSendToCloud: false,
    plotlyServerURL: "",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  const plots = [...document.querySelectorAll(".plot")];

  // Colours that are too faint on a dark page, each in quotation marks as JSON has them.
  const inDark = (text) => lighter.reduce((found, [from, to]) => found.replaceAll(`"${from}"`, `"${to}"`), text);
  const draw = (plot) => {
    plot.content ??= plot.querySelector("script").textContent;
    const isDark = window.evolveColours.isDark();
    const content = JSON.parse(isDark ? inDark(plot.content) : plot.content);
    const template = templates[isDark ? "dark" : "light"];
    // With the same revision a zoom outlasts another colour.
    const layout = { ...content.layout, template, uirevision: "report" };
    // A finger that drags wants to scroll the page, not to zoom.
    if (isTouch) layout.dragmode = false;
    Plotly.react(plot, content.data, layout, config);
  };

  // One figure at a time, so that the page can be read and scrolled while the others are drawn.
  const drawAll = (waiting) => {
    if (!waiting.length) return;
    draw(waiting[0]);
    window.setTimeout(drawAll, 0, waiting.slice(1));
  };
  drawAll(plots);
  document.documentElement.addEventListener("colours", () => plots.forEach(draw));

  const valueOf = (cell) => {
    const text = cell.textContent.trim();
    const number = Number(text.replaceAll(",", ""));
    return text !== "" && !Number.isNaN(number) ? number : text;
  };
  const isMissing = (value) => value === "" || value === "\u2013";
  const compare = (a, b) => {
    if (isMissing(a) || isMissing(b)) return 0;
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  };
  const sortBy = (table, heading) => {
    const column = heading.cellIndex;
    const isNumber = heading.classList.contains("number");
    const before = heading.getAttribute("aria-sort");
    // Numbers are asked for from the largest down, except by the first column, the trial.
    const first = isNumber && column > 0 ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = before === first ? other : first;
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[column]), row]);
    // Missing values stay last in both directions.
    rows.sort(([a], [b]) => isMissing(a) - isMissing(b) || sign * compare(a, b));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  for (const table of document.querySelectorAll(".sortable table")) {
    for (const heading of table.tHead.rows[0].cells) {
      heading.querySelector("button").addEventListener("click", () => sortBy(table, heading));
    }
  }
})();
