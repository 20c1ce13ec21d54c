// Draws the curves of a page from the numbers in it: zoom, values, scales, smoothing.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const box = document.getElementById("charts");
  const axis = document.getElementById("axis");
  const smooth = document.getElementById("smooth");
  const still = document.getElementById("still");
  const probe = document.body.appendChild(document.createElement("i"));
  probe.hidden = true;
  const logs = data.charts.map(chart => chart.log);
  const hidden = new Set();
  let plots = [];
  let range = null; // of the zoom, on the chosen axis; null is the whole run

  const color = (name, strength = 100) => {
    probe.style.color = `color-mix(in srgb, var(${name}) ${strength}%, transparent)`;
    return getComputedStyle(probe).color;
  };
  const isNumber = y => y !== null && y !== undefined;
  const said = y => {
    if (!isNumber(y)) return "–";
    const size = Math.abs(y);
    if (size >= 1e6 || (size && size < 1e-3)) return (+y.toPrecision(3)).toExponential();
    return size >= 1e4 ? Math.round(y).toLocaleString("en") : String(+y.toPrecision(4));
  };

  const isTen = y => Math.abs(Math.log10(y) - Math.round(Math.log10(y))) < 1e-9;

  // The mean over the rows around each, as the still figure has it.
  const mean = (values, half) => values.map((value, i) => {
    if (!isNumber(value)) return value;
    const around = values.slice(Math.max(0, i - Math.min(half, i)), i + Math.min(half, i) + 1);
    const seen = around.filter(isNumber);
    return seen.reduce((a, b) => a + b, 0) / seen.length;
  });
  const positive = values => values.map(y => (isNumber(y) && y <= 0 ? null : y));

  // The row nearest to the cursor that has a value, for tests are far between; none
  // before the first and after the last.
  const nearest = (u, series, at) => {
    const values = u.data[series];
    const [before, after] = [-1, 1].map(way => {
      let i = at;
      while (i >= 0 && i < values.length && !isNumber(values[i])) i += way;
      return i;
    });
    if (before < 0 || after >= values.length) return null;
    return at - before <= after - at ? before : after;
  };

  const whole = () => {
    let [low, high] = [Infinity, -Infinity];
    for (const rows of data.rows) {
      const x = rows[axis.value];
      if (x.length) [low, high] = [Math.min(low, x[0]), Math.max(high, x[x.length - 1])];
    }
    return high > low ? [low, high] : [low - 1, low + 1];
  };
  const zoom = wanted => {
    const [low, high] = whole();
    const [from, to] = wanted ?? [low, high];
    const isWhole = from <= low && to >= high;
    range = isWhole ? null : [Math.max(from, low), Math.min(to, high)];
    const [min, max] = range ?? [low, high];
    plots.forEach(u => u.setScale("x", { min, max }));
  };
  const scaled = (factor, about) => {
    const [low, high] = range ?? whole();
    const x = about ?? (low + high) / 2;
    zoom([x - (x - low) * factor, x + (high - x) * factor]);
  };
  const pointAt = x => plots.forEach(u => {
    u.setCursor({ left: u.valToPos(x, "x"), top: u.over.clientHeight / 2 });
  });

  const build = (chart, number, width) => {
    const isLog = logs[number];
    const series = [{ label: axis.value, value: (u, x) => said(x) }];
    const bands = [];
    const tables = [];
    const partners = {};
    for (const line of chart.lines) {
      const x = data.rows[line.rows][axis.value];
      const kept = isLog ? positive : values => values;
      const half = Math.floor(x.length / (+smooth.value || Infinity));
      const isSmooth = line.smooth && half > 0;
      const name = `--c${line.color % 6}`;
      const dash = line.color > 5 ? [6, 4] : undefined;
      const show = !hidden.has(`${number} ${line.label}`);
      const table = [x];
      const add = (values, options) => {
        table.push(kept(values));
        series.push({ label: line.label, show, dash, value: (u, y) => said(y), ...options });
        return series.length - 1;
      };
      const quiet = { class: "hidden", points: { show: false } };
      const parts = [];
      if (line.low) {
        const clear = { ...quiet, stroke: "transparent", width: 0 };
        const pair = [add(line.high, clear), add(line.low, clear)];
        bands.push({ series: pair, fill: color(name, 22) });
        parts.push(...pair);
      } else if (isSmooth) {
        parts.push(add(line.values, { ...quiet, stroke: color(name, 35), width: 1 }));
      }
      const strong = add(isSmooth ? mean(line.values, half) : line.values, {
        stroke: color(name), width: 2,
        points: { show: x.length <= 60, size: 5, fill: color(name) },
      });
      partners[strong] = parts;
      tables.push(table);
    }
    const grid = { stroke: color("--line"), width: 1 };
    const look = { stroke: color("--muted"), grid, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const [min, max] = range ?? whole();
    const lowest = chart.floor ?? 0;
    const u = new uPlot({
      width, height: 260, series, bands,
      scales: {
        x: { time: false, min, max, auto: false },
        y: isLog
          ? { distr: 3, range: (u, low, high) => uPlot.rangeLog(Math.max(low, lowest) || 1e-3, high || 1, 10, false) }
          : {},
      },
      axes: [
        { ...look, label: axis.selectedOptions[0].text, size: 30, labelSize: 22, labelGap: 0, labelFont: look.font,
          values: (u, ticks) => ticks.map(x => (isNumber(x) ? x.toLocaleString("en") : "")) },
        { ...look, size: 64,
          grid: { ...grid, filter: (u, ticks) => (isLog ? ticks.map(y => (isTen(y) ? y : null)) : ticks) },
          values: (u, ticks) => ticks.map(y => (isNumber(y) ? said(y) : "")) },
      ],
      cursor: {
        dataIdx: (u, s, at) => (s ? nearest(u, s, at) : at),
        sync: { key: "run", setSeries: false, scales: ["x", null] },
        drag: { x: true, y: false, setScale: false },
        bind: { dblclick: () => () => zoom(null) },
      },
      hooks: {
        setSelect: [u => {
          const { left, width } = u.select;
          if (width > 3) zoom([u.posToVal(left, "x"), u.posToVal(left + width, "x")]);
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        }],
        setSeries: [(u, i, { show }) => {
          if (show === undefined || !partners[i]) return;
          hidden[show ? "delete" : "add"](`${number} ${u.series[i].label}`);
          partners[i].forEach(j => u.setSeries(j, { show }));
        }],
      },
    }, uPlot.join(tables), box.children[number].lastElementChild);
    u.root.querySelectorAll(".u-series:not(.hidden) th").forEach((label, i) => {
      if (!i) return; // that of the axis
      label.tabIndex = 0;
      label.setAttribute("role", "button");
      label.title = "show or hide";
      label.onkeydown = event => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); label.click(); }
      };
    });
    return u;
  };

  const draw = () => {
    plots.forEach(u => u.destroy());
    plots = data.charts.map((chart, i) => build(chart, i, box.children[i].lastElementChild.clientWidth));
  };

  const keys = (event, u) => {
    if (event.target !== u.root.parentElement || event.ctrlKey || event.metaKey) return;
    const x = u.data[0];
    const left = u.cursor.left >= 0 ? u.cursor.left : 0;
    const at = u.posToIdx(left);
    const go = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (go) {
      const [low, high] = range ?? whole();
      let to = at + go * (event.shiftKey ? 10 : 1);
      to = Math.max(0, Math.min(x.length - 1, to));
      if (x[to] >= low && x[to] <= high) pointAt(x[to]);
    } else if (event.key === "+" || event.key === "=") scaled(0.5, u.posToVal(left, "x"));
    else if (event.key === "-") scaled(2, u.posToVal(left, "x"));
    else if (event.key === "0" || event.key === "Escape") zoom(null);
    else return;
    event.preventDefault();
  };

  data.charts.forEach((chart, i) => {
    const card = document.createElement("section");
    card.className = "card chart";
    const head = card.appendChild(document.createElement("header"));
    head.appendChild(document.createElement("strong")).textContent = chart.title;
    const label = head.appendChild(document.createElement("label"));
    const log = label.appendChild(document.createElement("input"));
    log.type = "checkbox";
    log.checked = chart.log;
    label.append(" log");
    log.setAttribute("aria-label", `${chart.title}: logarithmic scale`);
    log.onchange = () => { logs[i] = log.checked; draw(); };
    const place = card.appendChild(document.createElement("div"));
    place.tabIndex = 0;
    place.setAttribute("role", "group");
    place.setAttribute("aria-label", `${chart.title}: a chart; arrows, plus, minus and 0 work`);
    place.onkeydown = event => keys(event, plots[i]);
    box.append(card);
  });
  document.getElementById("live").hidden = false;
  try {
    draw();
  } catch (error) {
    document.getElementById("live").hidden = true;
    throw error;
  }
  still.hidden = true;
  axis.onchange = () => { range = null; draw(); };
  smooth.onchange = draw;
  document.getElementById("in").onclick = () => scaled(0.5);
  document.getElementById("out").onclick = () => scaled(2);
  document.getElementById("all").onclick = () => zoom(null);
  matchMedia("(prefers-color-scheme: dark)").onchange = draw;
  new ResizeObserver(() => plots.forEach((u, i) => {
    const width = box.children[i].lastElementChild.clientWidth;
    if (width && width !== u.width) u.setSize({ width, height: 260 });
  })).observe(box);
  const root = document.documentElement.style;
  window.onbeforeprint = () => {
    root.colorScheme = "light";
    box.classList.add("printed"); // as wide as on paper, before it is drawn for it
    draw();
  };
  window.onafterprint = () => {
    root.colorScheme = "";
    box.classList.remove("printed");
    draw();
  };
})();
