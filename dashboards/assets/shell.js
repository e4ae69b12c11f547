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
  const device = () => ({
    dark: window.evolveColours.isDark(),
    touch: window.matchMedia("(pointer: coarse)").matches,
  });
  document.documentElement.addEventListener("colours", () => {
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
  // Of what caused a callback: picture or table as the address names it, and the property.
  const placeOf = (property) => {
    const dot = property.lastIndexOf(".");
    const { panel, index } = JSON.parse(property.slice(0, dot));
    return [`${panel}-${index}`, property.slice(dot + 1)];
  };
  const plotOf = (name) => document.querySelector(`[data-picture="${name}"] .js-plotly-plot`);
  const plots = () => [...document.querySelectorAll(".js-plotly-plot")];

  const mark = (plot, selected) => {
    const marked = new Map();
    (plot.data || []).forEach((trace, index) => {
      if (trace.customdata === undefined || !(trace.mode || "").includes("markers")) return;
      const custom = plot._fullData?.[index]?.customdata ?? trace.customdata;
      if (typeof custom[Symbol.iterator] !== "function") return;
      const isChosen = (each) => selected.has(Number(trialOf(each)));
      marked.set(index, selected.size ? [...custom].flatMap((each, at) => (isChosen(each) ? [at] : [])) : null);
    });
    // At once for all curves: each call draws the picture anew and is told to the page.
    if (marked.size) window.Plotly.restyle(plot, { selectedpoints: [...marked.values()] }, [...marked.keys()]);
    if (!selected.size && plot.layout?.selections?.length) window.Plotly.relayout(plot, { selections: [] });
  };

  // What the reader zoomed, took away and ordered, with what one picture or table says now.
  const others = (kept, name) => kept.filter(([owner]) => owner !== name);
  const zoomed = (before, figure, said) => {
    const kept = new Map(before.map((each) => [`${each[0]} ${each[1]}`, each]));
    for (const [key, value] of Object.entries(said)) {
      const [, axis, what] = key.match(/^([xy]axis\d?)\.(range\[0\]|autorange|range)$/) || [];
      if (!axis) continue;
      const ends = what === "range" ? value : [value, said[`${axis}.range[1]`]];
      if (what === "autorange") kept.delete(`${figure} ${axis}`);
      else if (ends.every((end) => typeof end === "number")) kept.set(`${figure} ${axis}`, [figure, axis, ...ends]);
    }
    return [...kept.values()];
  };
  const hidden = (before, figure) => {
    const traces = plotOf(figure)?._fullData || [];
    const curves = traces.filter((trace) => trace.visible === "legendonly").map((trace) => trace.legendgroup || trace.name);
    return [...others(before, figure), ...[...new Set(curves)].map((curve) => [figure, curve])];
  };
  const ordered = (before, table, { sortModel = [] }) => [
    ...others(before, table),
    ...sortModel.map(({ colId, sort }) => [table, Number(colId.slice(1)), sort === "desc"]),
  ];

  // The address as the page's script last wrote it, without the section.
  let shown = "";
  window.addEventListener("popstate", () => {
    const address = window.location.pathname + window.location.search;
    // Dash itself sees another page; another query on this one it does not.
    if (address !== shown && shown.startsWith(window.location.pathname)) {
      window.dash_clientside.set_props("returned", { data: [address, Date.now()] });
    }
    shown = address;
  });
  // The section being read, so that a link opens there.
  const note = () => {
    const read = [...document.querySelectorAll(".panel")].findLast((each) => each.getBoundingClientRect().top < 90);
    const address = window.location.pathname + window.location.search;
    window.history.replaceState(window.history.state, "", address + (read ? `#${read.id}` : ""));
  };
  let noting;
  window.addEventListener("scroll", () => {
    window.clearTimeout(noting);
    noting = window.setTimeout(note, 300);
  });

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
    ask: (inSight, query, version, reader, selection, before, ids) =>
      ids.map((id, at) => {
        if (!inSight.includes(id.key) || !query || !reader) return nothing();
        const wanted = JSON.stringify([query, version, reader, id.lines === "yes" ? selection : ""]);
        return wanted === before[at] ? nothing() : wanted;
      }),
    // A new query is a step that the browser's way back undoes; a zoom or an order is not.
    address: ([address, query] = []) => {
      if (!address || address.split("?")[0] !== window.location.pathname) return nothing();
      const before = window.history.state?.query;
      const isStep = before !== undefined && before !== query;
      shown = address;
      window.history[isStep ? "pushState" : "replaceState"]({ query }, "", address + window.location.hash);
      return nothing();
    },
    select: (_boxes, _clicks, before) => {
      const cause = window.dash_clientside.callback_context.triggered[0];
      if (!cause || cause.value === undefined) return nothing();
      // A picture that is drawn for the first time says null for all it has; one that is deselected for one thing.
      const isFirst = window.dash_clientside.callback_context.triggered.length > 1;
      if (cause.value === null) return !isFirst && cause.prop_id.endsWith("selectedData") && before ? "" : nothing();
      const traces = plotOf(placeOf(cause.prop_id)[0])?._fullData || [];
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
    view: (_zooms, _curves, _orders, before) => {
      const after = { ...before };
      for (const { prop_id: property, value } of window.dash_clientside.callback_context.triggered) {
        const [name, what] = placeOf(property);
        if (!value) continue;
        if (what === "relayoutData") after.zooms = zoomed(after.zooms, name, value);
        if (what === "restyleData" && "visible" in value[0]) after.hidden = hidden(after.hidden, name);
        if (what === "getRowsRequest") after.sorts = ordered(after.sorts, name, value);
      }
      return JSON.stringify(after) === JSON.stringify(before) ? nothing() : after;
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
        document.getElementById(window.location.hash.slice(1))?.scrollIntoView({ behavior: "instant" });
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
      const kept = new URLSearchParams(window.location.search);
      for (const key of ["state", "verdict", "range", "choice", "text"]) kept.delete(key);
      window.location.assign(`${window.location.pathname}?${kept}`);
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
