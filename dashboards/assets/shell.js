"use strict";
// What has to happen in the browser: the device, the address, brushing from picture to picture, zoom, and tables.
(() => {
  // Plotly, the largest part by far, loads while the page is asked for; what draws pictures waits for this promise.
  const plotly = document.querySelector("script[src^='/plotly.js']");
  window.Plotly ??= new Promise((loaded, failed) => {
    plotly.addEventListener("load", () => loaded(window.Plotly));
    plotly.addEventListener("error", failed);
  });

  const nothing = () => window.dash_clientside.no_update;
  const darkness = window.matchMedia("(prefers-color-scheme: dark)");
  const device = () => ({ dark: darkness.matches, touch: window.matchMedia("(pointer: coarse)").matches });
  const themeTables = () => {
    document.documentElement.dataset.agThemeMode = darkness.matches ? "dark" : "light";
  };
  themeTables();
  darkness.addEventListener("change", () => {
    themeTables();
    window.dash_clientside.set_props("device", { data: device() });
  });

  // Trials as text, runs written with a hyphen, as in the address.
  const toText = (numbers) => {
    const runs = [];
    for (const number of [...new Set(numbers)].sort((a, b) => a - b)) {
      const last = runs.at(-1);
      if (last && number === last[1] + 1) last[1] = number;
      else runs.push([number, number]);
    }
    return runs.map(([low, high]) => (low === high ? `${low}` : `${low}-${high}`)).join(",");
  };
  const fromText = (text) => {
    const numbers = new Set();
    for (const part of (text || "").split(",").filter(Boolean)) {
      const [low, high] = part.split("-").map(Number);
      for (let number = low; number <= (high ?? low); number += 1) numbers.add(number);
    }
    return numbers;
  };
  // Plotly unpacks numbers only in what it has drawn; a pair holds the trial first.
  const trialOf = (custom) => (custom !== null && typeof custom === "object" ? custom[0] : custom);
  const plotOf = (property) => {
    const { panel, index } = JSON.parse(property.slice(0, property.lastIndexOf(".")));
    return document.querySelector(`[data-picture="${panel}-${index}"] .js-plotly-plot`);
  };
  const plots = () => [...document.querySelectorAll(".js-plotly-plot")];

  const mark = (plot, selected) => {
    (plot.data || []).forEach((trace, index) => {
      if (trace.customdata === undefined || !(trace.mode || "").includes("markers")) return;
      const custom = plot._fullData?.[index]?.customdata ?? trace.customdata;
      if (typeof custom[Symbol.iterator] !== "function") return;
      const points = selected.size
        ? [[...custom].flatMap((each, at) => (selected.has(Number(trialOf(each))) ? [at] : []))]
        : null;
      window.Plotly.restyle(plot, { selectedpoints: points }, [index]);
    });
    if (!selected.size && plot.layout?.selections?.length) window.Plotly.relayout(plot, { selections: [] });
  };

  const seen = new Set();
  const seenWatcher = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) seen[isIntersecting ? "add" : "delete"](target.id);
      window.dash_clientside.set_props("seen", { data: [...seen] });
    },
    { rootMargin: "300px 0px" },
  );

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.evolve = {
    device: () => device(),
    // What each panel in sight should show; nothing where it shows that already.
    ask: (inSight, question, stamp, reader, selection, before, ids) =>
      ids.map((id, at) => {
        if (!inSight.includes(id.key) || !question || !reader) return nothing();
        const wanted = JSON.stringify([question, stamp, reader, id.lines === "yes" ? selection : ""]);
        return wanted === before[at] ? nothing() : wanted;
      }),
    address: (written) => {
      const [path, search = ""] = (written || "").split("?");
      if (written && path === window.location.pathname) {
        const url = path + (search ? `?${search}` : "") + window.location.hash;
        window.history.replaceState(window.history.state, "", url);
      }
      return nothing();
    },
    select: (_boxes, _clicks, before) => {
      const cause = window.dash_clientside.callback_context.triggered[0];
      if (!cause || cause.value === undefined) return nothing();
      // A picture that is drawn for the first time says null for all it has; one that is deselected for one thing.
      const isFirst = window.dash_clientside.callback_context.triggered.length > 1;
      if (cause.value === null) return !isFirst && cause.prop_id.endsWith("selectedData") && before ? "" : nothing();
      const traces = plotOf(cause.prop_id)?._fullData || [];
      const numbers = (cause.value.points || [])
        .map((point) => trialOf(traces[point.curveNumber]?.customdata?.[point.pointIndex ?? point.pointNumber]))
        .map((each) => (each === undefined || each === null ? NaN : Number(each)))
        .filter((number) => Number.isInteger(number));
      if (!numbers.length) return nothing();
      const text = toText(numbers);
      return text === before ? nothing() : text;
    },
    highlight: (selection) => {
      const selected = fromText(selection);
      plots().forEach((plot) => mark(plot, selected));
      return nothing();
    },
    zoom: (_all, before) => {
      const cause = window.dash_clientside.callback_context.triggered[0];
      if (!cause?.value) return nothing();
      const id = JSON.parse(cause.prop_id.slice(0, cause.prop_id.lastIndexOf(".")));
      const figure = `${id.panel}-${id.index}`;
      const kept = new Map((before || []).map((each) => [`${each[0]} ${each[1]}`, each]));
      let changed = false;
      for (const [key, value] of Object.entries(cause.value)) {
        const [, axis, what] = key.match(/^([xy]axis\d?)\.(range\[0\]|autorange|range)$/) || [];
        if (!axis) continue;
        changed = true;
        const ends = what === "range" ? value : [value, cause.value[`${axis}.range[1]`]];
        if (what === "autorange") kept.delete(`${figure} ${axis}`);
        else if (ends.every((end) => typeof end === "number")) kept.set(`${figure} ${axis}`, [figure, axis, ...ends]);
      }
      return changed ? [...kept.values()] : nothing();
    },
    refresh: () => {
      document.querySelectorAll(".ag-root-wrapper").forEach((each) => {
        const grid = each.closest("[id]");
        const owner = each.closest(".picture")?.querySelector("[id*='\"grid\"']") || grid;
        window.dash_ag_grid
          ?.getApiAsync(JSON.parse(owner.id))
          .then((api) => api.refreshInfiniteCache())
          .catch(() => {});
      });
      return nothing();
    },
    watch: () => {
      seenWatcher.disconnect();
      seen.clear();
      window.requestAnimationFrame(() => {
        document.querySelectorAll(".panel").forEach((each) => seenWatcher.observe(each));
        // On a phone the pictures come first.
        const filters = document.querySelector(".filters");
        if (filters && window.innerWidth <= 640) filters.open = false;
        const title = document.querySelector("#page h1")?.textContent;
        document.title = title ? `${title} · evolve` : "evolve";
      });
      return nothing();
    },
    clear: (clicks) => {
      const cause = window.dash_clientside.callback_context.triggered[0];
      if (!cause?.value || !clicks.some(Boolean)) return nothing();
      if (cause.prop_id.includes("selection")) {
        window.dash_clientside.set_props("selection", { data: "" });
        return nothing();
      }
      window.location.assign(`${window.location.pathname}?study=${new URLSearchParams(window.location.search).get("study")}`);
      return nothing();
    },
  };

  // Cells of tables that are more than text.
  const functions = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});
  functions.Verdict = (props) =>
    window.React.createElement("span", { className: `verdict verdict-${props.value}` }, props.value);
  functions.RowLink = (props) =>
    props.data?.link ? window.React.createElement("a", { href: props.data.link }, props.value) : null;

  // Pictures as files, on the page's own background.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-save]");
    if (!button) return;
    const plot = button.closest(".picture").querySelector(".js-plotly-plot");
    const [format, filename] = button.dataset.save.split(":");
    const { width, height } = plot.getBoundingClientRect();
    const paper = window.getComputedStyle(document.querySelector("section")).backgroundColor;
    const layout = { ...plot.layout, paper_bgcolor: paper, plot_bgcolor: paper, width, height };
    const scale = format === "png" ? 2 : 1;
    window.Plotly.downloadImage({ data: plot.data, layout }, { format, filename, width, height, scale });
  });
})();
