/* Curves by epoch or time, in panels beside each other that share this axis.

The function runs again whenever its data or the theme change. The plots of a panel are kept between
runs, so that a zoom, a hidden line and the cursor stay while new epochs come in. `uPlot` stands above
this text: `live.py` puts the library first.
*/

const SMALL = "11px system-ui, sans-serif";
const HEIGHT = 240;
const NARROWEST = 220;
const EPOCHS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000, 100000];
const drawn = new WeakMap();

const colourOf = (host, name) => getComputedStyle(host).getPropertyValue(name).trim();
const faint = (colour) => `${colour}48`;
const bare = (text) => text.replace(/^(-?)0\./, "$1."); // .5, as metrics read elsewhere
const number = (value) => (value == null ? "–" : bare(value.toFixed(3)));
const ticks = (plot, splits) => splits.map((value) => bare(uPlot.fmtNum(value)));
const percent = (value) => (value == null ? "–" : `${Math.round(value * 100)} %`);
const percents = (plot, splits) => splits.map(percent);
const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");
const clock = uPlot.fmtDate("{HH}:{mm}:{ss}");

/* A smoothed line has its raw values before it, faint and without an entry in the legend. */
const linesOf = (panel) => panel.lines.flatMap((line) => (line.raw ? [{ ...line, values: line.raw, isRaw: true }, line] : [line]));
const valuesOf = (data, panel) => [data.along, ...linesOf(panel).map((line) => line.values)];
const shapeOf = (panel) => JSON.stringify(linesOf(panel).map((line) => [line.name, line.colour, Boolean(line.isRaw)]));

function series(line, isShare) {
  if (line.isRaw) return { label: `${line.name}, raw`, stroke: faint(line.colour), width: 1, points: { show: false }, class: "raw" };
  return {
    label: line.name,
    stroke: line.colour,
    points: { fill: line.colour },  // by itself white, which glares on a dark page
    width: 2,
    value: (plot, value, at, row) => (isShare ? percent : number)(row == null ? plot.data[at].at(-1) : value),
  };
}

function bestLine(plot, state) {
  if (state.best == null) return;
  const { ctx, bbox } = plot;
  const at = Math.round(plot.valToPos(state.best, "x", true));
  if (at < bbox.left || at > bbox.left + bbox.width) return;
  ctx.save();
  ctx.strokeStyle = colourOf(state.host, "--st-text-color");
  ctx.globalAlpha = 0.45;
  ctx.setLineDash([4, 4]);
  ctx.beginPath();
  ctx.moveTo(at, bbox.top);
  ctx.lineTo(at, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}

const whole = (plot) => [plot.data[0][0], plot.data[0].at(-1)];
const range = (plot) => [plot.scales.x.min, plot.scales.x.max];

/* What is shown is told to the page too: a test, or a script of the user, reads it there. */
function tell(state) {
  const [from, to] = range(state.plot);
  Object.assign(state.box.dataset, { from, to, last: state.plot.data[0].at(-1), zoomed: state.zoomed });
  state.reset.hidden = !state.zoomed;
}

function options(state, panel) {
  const write = state.isTime ? (value) => clock(utc(value)) : (value) => value;
  const along = state.isTime ? { values: (plot, splits) => splits.map(write), space: 80 } : { incrs: EPOCHS };
  const first = { label: state.isTime ? "time (UTC)" : "epoch", value: (plot, value, at, row) => write(row == null ? plot.data[0].at(-1) : value) };
  const axis = (more) => ({
    stroke: () => colourOf(state.host, "--st-text-color"),
    grid: { stroke: () => colourOf(state.host, "--st-border-color"), width: 1 },
    ticks: { show: false },
    font: SMALL,
    ...more,
  });
  return {
    width: Math.max(NARROWEST, state.box.clientWidth - 24),
    height: HEIGHT,
    tzDate: utc,
    scales: {
      x: { time: state.isTime, range: (plot, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) },
      ...(panel.isShare && { y: { range: [0, 1.02] } }),
    },
    axes: [axis({ size: 28, ...along }), axis({ size: 46, values: panel.isShare ? percents : ticks })],
    series: [first, ...linesOf(panel).map((line) => series(line, panel.isShare))],
    cursor: { sync: { key: state.group, scales: ["x", null] }, drag: { x: true, y: false, dist: 5 }, points: { size: 7 } },
    hooks: {
      setScale: [
        (plot, key) => {
          if (key !== "x" || state.isFed || !state.plot) return;
          const [first, last] = whole(plot);
          const [from, to] = range(plot);
          state.zoomed = from > first || to < last;
          tell(state);
        },
      ],
      draw: [(plot) => bestLine(plot, state)],
    },
  };
}

function feed(state, values) {
  const { plot } = state;
  const [from, to] = range(plot);
  state.isFed = true;
  plot.batch(() => {
    plot.setData(values, !state.zoomed);
    if (state.zoomed) plot.setScale("x", { min: from, max: to });
  });
  state.isFed = false;
}

function put(state, data, panel) {
  Object.assign(state, { best: data.best, isTime: data.isTime });
  const shape = shapeOf(panel);
  if (state.plot && state.shape === shape) {
    feed(state, valuesOf(data, panel));
    state.plot.redraw(false, true); // the theme may have changed
  } else {
    const kept = state.zoomed ? range(state.plot) : null;
    const hidden = new Set(state.plot?.series.filter((one) => !one.show).map((one) => one.label));
    state.plot?.destroy();
    state.plot = null;
    const plot = new uPlot(options(state, panel), valuesOf(data, panel), state.canvas);
    Object.assign(state, { plot, shape });
    plot.series.forEach((one, at) => hidden.has(one.label) && plot.setSeries(at, { show: false }));
    if (kept) plot.setScale("x", { min: kept[0], max: kept[1] });
  }
  tell(state);
}

function panelIn(host, root, panel, group) {
  const box = document.createElement("section");
  box.className = "panel";
  box.innerHTML = `<header><h3></h3><button type="button" hidden>Reset zoom</button></header><div role="img"></div>`;
  const [canvas, reset] = [box.querySelector("div"), box.querySelector("button")];
  box.querySelector("h3").textContent = panel.title;
  root.append(box);
  const state = { host, box, canvas, reset, group, zoomed: false };
  reset.onclick = () => {
    const [min, max] = whole(state.plot);
    for (const plot of uPlot.sync(group).plots) plot.setScale("x", { min, max });
  };
  state.watch = new ResizeObserver(() => {
    const width = Math.max(NARROWEST, box.clientWidth - 24);
    if (state.plot && state.plot.width !== width) state.plot.setSize({ width, height: HEIGHT });
  });
  state.watch.observe(box);
  return state;
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".panels");
  let panels = drawn.get(parentElement);
  if (!panels) {
    const group = `epochs-${Math.random()}`;
    panels = data.panels.map((panel) => panelIn(root, root, panel, group));
    drawn.set(parentElement, panels);
  }
  panels.forEach((state, at) => {
    state.canvas.setAttribute("aria-label", data.panels[at].alt);
    put(state, data, data.panels[at]);
  });
  return () => {
    for (const state of panels) {
      state.watch.disconnect();
      state.plot?.destroy();
    }
    root.replaceChildren();
    drawn.delete(parentElement);
  };
}
