// Draws the figures that the server sent: resolves colour tokens, shows one crosshair on all charts, turns a drag
// into a window. Plotly draws; the numbers are in the page's tables too.
"use strict";
(() => {
  const TEXT_PX = 11;
  let drawn = [];

  // A probe lets the browser itself resolve a variable that differs by theme.
  const probe = document.createElement("i");
  probe.hidden = true;
  const token = (name) => {
    if (name === "--none") return "rgba(0,0,0,0)";
    if (name === "--accent-fill") return faded(token("--accent"), 0.13);
    if (name === "--range") return faded(token("--ink-3"), 0.2);
    if (!probe.isConnected) document.body.append(probe);
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const faded = (colour, alpha) => colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);
  const resolved = (value) => {
    if (typeof value === "string") return value.startsWith("--") ? token(value) : value;
    if (Array.isArray(value)) return value.map(resolved);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolved(v)]));
    return value;
  };

  // "Sat, 21 Nov, 14:15–14:30": clock times as sent, read as UTC so that the browser's own zone changes nothing.
  const DAY = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", weekday: "short", day: "numeric", month: "short" });
  const CLOCK = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hour: "2-digit", minute: "2-digit" });
  const range = (x, seconds, zone) => {
    const start = new Date(`${x}Z`);
    if (seconds >= 86400) return DAY.format(start);
    return `${DAY.format(start)}, ${CLOCK.format(start)}–${CLOCK.format(new Date(start.getTime() + seconds * 1000))} ${zone}`;
  };
  const ranged = (trace, figure) => {
    const name = trace.text ? "text" : "hovertext";
    if (!trace[name]) return {};
    return { [name]: trace[name].map((words, i) => words && `${range(figure.x[i], figure.bucket_s, figure.zone)}<br>${words}`) };
  };

  const draw = (box) => {
    const figure = JSON.parse(document.getElementById(box.dataset.figure).textContent);
    const first = Date.parse(`${figure.x0}Z`);
    figure.x = figure.x_min.map((minutes) => new Date(first + minutes * 60000).toISOString().slice(0, 16));
    const data = resolved(figure.data).map((trace) => (trace.x ? trace : { ...trace, x: figure.x, ...ranged(trace, figure) }));
    const axis = { fixedrange: false, showgrid: false, zeroline: false, ticks: "", automargin: false, linecolor: token("--line-2"), showline: true };
    const given = resolved(figure.layout);
    const layout = {
      ...given,
      autosize: true, showlegend: false, hovermode: "x", dragmode: "zoom", bargap: 0.25,
      margin: { l: 40, r: 6, t: 14, b: 20, ...given.margin },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: TEXT_PX, color: token("--ink-3") },
      ...(given.barmode ? { barmode: given.barmode, bargap: given.bargap } : {}),
      xaxis: { ...axis, type: "date", showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "2px,2px", spikecolor: token("--ink-3"), spikesnap: "data", ...given.xaxis },
      yaxis: { ...axis, fixedrange: true, showline: false, showgrid: true, gridcolor: token("--line"), ...given.yaxis },
      annotations: (given.annotations || []).map((a) => ({ showarrow: false, bgcolor: token("--surface"), borderpad: 1, ...a, font: { size: TEXT_PX, ...a.font } })),
      hoverlabel: { bgcolor: token("--surface"), bordercolor: token("--line-2"), font: { color: token("--ink"), size: 12 } },
    };
    Plotly.react(box, data, layout, { displayModeBar: false, responsive: true, doubleClick: false });
    if (box.dataset.wired) return;
    box.dataset.wired = "1";
    box.on("plotly_relayout", (change) => narrow(change["xaxis.range[0]"], change["xaxis.range[1]"]));
    box.on("plotly_click", (event) => {
      const point = event.points[0], x = atMidnight(String(point.x));
      const lead = figure.why?.[point.data.name];
      const why = figure.opens || lead ? null : explained(box, figure.x.indexOf(minute(x)), point.curveNumber);
      if (lead) location.assign(lead.endsWith("=") ? lead + minute(x) : lead);
      else if (why) location.assign(why.href);
      else if (box.dataset.opens) openAt(box.dataset.opens, x, figure.bucket_s);
    });
    box.on("plotly_hover", (event) => crosshair(box, event.xvals?.[0]));
    box.on("plotly_unhover", () => crosshair(box, null));
  };

  const crosshair = (source, x) => {
    for (const box of drawn) {
      if (box === source || !box._fullLayout) continue;
      if (x === null || x === undefined) Plotly.Fx.unhover(box);
      else Plotly.Fx.hover(box, { xval: x });
    }
  };

  // Clock times of the tenant's zone: the server reads times without an offset so.
  const minute = (text) => String(text).replace(" ", "T").slice(0, 16);
  const withWindow = (address, from, to) => {
    const url = new URL(address, location.href);
    url.searchParams.delete("last");
    url.searchParams.set("from", minute(from));
    url.searchParams.set("to", minute(to));
    return url.href;
  };
  const narrow = (from, to) => { if (from && to && minute(from) !== minute(to)) location.assign(withWindow(location.href, from, to)); };
  const atMidnight = (x) => (x.length <= 10 ? `${x}T00:00` : x);
  // The way that the table under the chart has from this figure: of the line's own column, else of the row's sum.
  const explained = (box, row, line) => {
    const cells = box.parentElement.querySelectorAll(".as-table tbody tr")[row]?.cells;
    return cells && (cells[line + 1]?.querySelector("a") || [...cells].map((cell) => cell.querySelector("a")).filter(Boolean).pop());
  };
  const openAt = (address, x, seconds) => {
    const start = new Date(`${minute(x)}Z`);
    location.assign(withWindow(address, start.toISOString(), new Date(start.getTime() + seconds * 1000).toISOString()));
  };

  const drawAll = () => {
    if (!window.Plotly) return;
    drawn = [...document.querySelectorAll("[data-figure]")];
    drawn.forEach(draw);
  };
  document.addEventListener("DOMContentLoaded", drawAll);
  document.addEventListener("htmx:afterSettle", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
