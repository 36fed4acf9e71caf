/* Workload by workload: what was seen, what is allowed, what is neither. One path per kind of cell, so that 250,000
   cells are a handful of elements. */

const KINDS = ["none", "ok", "more", "denied", "unknown", "unseen", "open"];
const [NONE, OK, MORE, DENIED_CELL, UNKNOWN, UNSEEN, OPEN] = KINDS.keys();
const N = PARTIES.length;

/** Kinds of all cells for one side, and the numbers of `DATA.texts`; computed once. */
const sides = {};
function sideOf(name) {
  if (sides[name]) return sides[name];
  const allowed = new Int32Array(N * N), kind = new Uint8Array(N * N), edges = new Map();
  const everything = DATA.texts.findIndex((t) => t.length === 1 && t[0] === "all");
  DATA.sides[name].rows.forEach((row, i) => {
    let j = i * N;
    for (let k = 0; k < row.length; k += 2) {
      if (row[k]) { allowed.fill(row[k], j, j + row[k + 1]); kind.fill(row[k] === everything ? OPEN : UNSEEN, j, j + row[k + 1]); }
      j += row[k + 1];
    }
  });
  const worst = { ok: OK, unknown: UNKNOWN, denied: DENIED_CELL }, rank = [0, 2, 3, 5, 4, 1, 1];
  EDGES.forEach((edge, number) => {
    const state = edgeState(edge, name);
    if (state === "aside") return;
    const cell = value(edge, "src") * N + value(edge, "dst");
    if (!edges.has(cell)) edges.set(cell, []);
    edges.get(cell).push(number);
    if (rank[worst[state]] > rank[kind[cell]]) kind[cell] = worst[state];
  });
  for (const cell of DATA.sides[name].more) if (kind[cell] === OK) kind[cell] = MORE;
  return (sides[name] = { allowed, kind, edges });
}
function cellText(side, i, j) {
  const [certain, possible] = DATA.texts[side.allowed[i * N + j]];
  return possible === undefined ? certain : certain + " (perhaps " + possible + ")";
}

const CELL_KINDS = [["ok", OK], ["more", MORE], ["denied", DENIED_CELL], ["unknown", UNKNOWN], ["unseen", UNSEEN], ["open", OPEN]];
/** A cell of a kind at a place: shapes differ as well as colours, where there is room for them. */
function swatch(kind) {
  const parts = [svg("rect", { class: "m-" + kind, width: 12, height: 12 })];
  if (kind === "more") parts.push(svg("path", { class: "m-corner", d: "M6 0H12V6Z" }));
  if (kind === "denied") parts.push(svg("path", { class: "m-x", d: "M3 3L9 9M9 3L3 9" }));
  if (kind === "unseen") parts.push(svg("rect", { class: "m-hole", x: 3, y: 3, width: 6, height: 6 }));
  return svg("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, parts);
}

function showMatrix() {
  const { params } = readAddress();
  const spaces = distinct(PARTIES.map((_, i) => spaceOf(i)));
  let name = params.get("side") === "before" ? "before" : "after", zoom = Number(params.get("zoom")) || 1;
  const src = chooser("Clients in", "src", spaces, draw), dst = chooser("Servers in", "dst", spaces, draw);
  const state = chooser("Only", "state", CELL_KINDS.map(([k]) => k), draw);
  const find = el("input", { type: "text", id: "matrix-find", spellcheck: "false", autocomplete: "off", oninput: () => { keep({ find: find.value }); draw(); } });
  find.value = params.get("find") || "";
  const quiet = el("input", { type: "checkbox", onchange: () => { keep({ quiet: quiet.checked ? "1" : "" }); draw(); } });
  quiet.checked = params.get("quiet") === "1";
  const toggles = ["before", "after"].map((side) =>
    el("button", { type: "button", "aria-pressed": String(side === name), onclick: () => { name = side; keep({ side: side === "after" ? "" : side }); toggles.forEach((b, k) => b.setAttribute("aria-pressed", String(["before", "after"][k] === side))); draw(); } }, side === "before" ? "Today" : "With generated"));
  const zooms = [["−", 0.5], ["+", 2]].map(([label, factor]) =>
    el("button", { type: "button", "aria-label": factor > 1 ? "Larger cells" : "Smaller cells", onclick: () => { zoom = Math.min(8, Math.max(0.5, zoom * factor)); keep({ zoom: zoom === 1 ? "" : zoom }); draw(); } }, label));
  const box = el("div", { class: "matrixbox" }), where = el("p", { class: "where" }), details = el("div", {}), counts = el("p", { class: "dim" });
  const list = edgeTable("Edges in the matrix", "t", { sort: "" });
  let shape = null, picked = null;

  function draw() {
    const side = sideOf(name);
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = state.value ? KINDS.indexOf(state.value) : -1;
    const inSpace = (choice, i) => !choice || spaceOf(i) === choice;
    const match = (i) => !words.length || words.some((w) => partyName(i).toLowerCase().includes(w));
    const seen = (i, j) => side.edges.has(i * N + j);
    let rows = PARTIES.map((_, i) => i).filter((i) => inSpace(src.value, i));
    let columns = PARTIES.map((_, i) => i).filter((i) => inSpace(dst.value, i));
    const visible = (i, j) => side.kind[i * N + j] !== NONE && (wanted < 0 || side.kind[i * N + j] === wanted) && (match(i) || match(j));
    const relevant = (i, j) => (quiet.checked || wanted >= UNSEEN ? visible(i, j) : seen(i, j) && visible(i, j));
    const kept = rows.filter((i) => columns.some((j) => relevant(i, j)));
    columns = columns.filter((j) => rows.some((i) => relevant(i, j)));
    rows = kept;
    shape = layout(side, rows, columns, visible, zoom);
    box.replaceChildren(shape ? shape.node : el("p", { class: "dim", style: null }, "No cell matches."));
    if (shape) listen();
    const total = new Array(KINDS.length).fill(0);
    for (const i of rows) for (const j of columns) if (visible(i, j)) total[side.kind[i * N + j]] += 1;
    counts.textContent = plural(rows.length, "client") + " by " + plural(columns.length, "server") + ": " + CELL_KINDS.filter(([, k]) => total[k]).map(([k, n]) => number(total[n]) + " " + STATE_NAMES[k]).join("; ");
    const inRows = new Set(rows), inColumns = new Set(columns);
    list.update(EDGES.filter((e) => edgeState(e, name) !== "aside" && inRows.has(value(e, "src")) && inColumns.has(value(e, "dst")) && visible(value(e, "src"), value(e, "dst"))));
    const cell = (readAddress().params.get("cell") || "").split("-").map(Number);
    picked = null;
    if (cell.length === 2 && inRows.has(cell[0]) && inColumns.has(cell[1])) pick(cell[0], cell[1]);
    else { details.replaceChildren(); where.textContent = "Point at a cell, or focus the matrix and use the arrow keys; Enter shows what is behind a cell."; }
  }
  function listen() {
    const node = shape.node;
    node.addEventListener("mousemove", (event) => {
      const at = node.getBoundingClientRect();
      const j = Math.floor((event.clientX - at.left - shape.left) / shape.size), i = Math.floor((event.clientY - at.top - shape.top) / shape.size);
      if (i >= 0 && j >= 0 && i < shape.rows.length && j < shape.columns.length) point(i, j);
    });
    node.addEventListener("click", () => { if (shape.at) pick(shape.rows[shape.at[0]], shape.columns[shape.at[1]]); });
    node.addEventListener("focus", () => { if (!shape.at) point(0, 0); });
    node.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const [i, j] = shape.at || [0, 0];
      if (event.key === "Enter" || event.key === " ") { pick(shape.rows[i], shape.columns[j]); }
      else if (event.key === "Home") point(i, 0);
      else if (event.key === "End") point(i, shape.columns.length - 1);
      else if (steps[event.key]) point(Math.min(shape.rows.length - 1, Math.max(0, i + steps[event.key][0])), Math.min(shape.columns.length - 1, Math.max(0, j + steps[event.key][1])));
      else return;
      event.preventDefault();
      say(where.textContent);
    });
  }
  function point(i, j) {
    shape.at = [i, j];
    shape.cross(i, j);
    const side = sideOf(name), a = shape.rows[i], b = shape.columns[j], kind = KINDS[side.kind[a * N + b]];
    const behind = (side.edges.get(a * N + b) || []).map((k) => value(EDGES[k], "protocol") + " " + value(EDGES[k], "port"));
    where.replaceChildren(el("b", {}, partyName(a) + " → " + partyName(b)), " ", kind === "none" ? tag("none", "not allowed, never seen") : tag(kind),
      behind.length ? " seen: " + distinct(behind).join(", ") + ";" : "", " allowed: " + cellText(side, a, b));
  }
  function pick(a, b) {
    const side = sideOf(name), i = shape.rows.indexOf(a), j = shape.columns.indexOf(b);
    keep({ cell: a + "-" + b });
    point(i, j);
    shape.pick(i, j);
    picked = [a, b];
    const table = edgeTable("Edges of the cell", "c", { filter: false });
    const head = el("h2", { tabindex: "-1" }, partyLink(a), " → ", partyLink(b));
    details.replaceChildren(el("div", { class: "card", id: "cell" }, head,
      el("p", {}, tag(KINDS[side.kind[a * N + b]] === "none" ? "none" : KINDS[side.kind[a * N + b]], side.kind[a * N + b] ? undefined : "not allowed, never seen"),
        " today: " + cellText(sideOf("before"), a, b) + "; with the generated policies: " + cellText(sideOf("after"), a, b)), table.node));
    table.update((side.edges.get(a * N + b) || []).map((k) => EDGES[k]));
  }
  fill("matrix",
    el("p", { class: "dim" }, "Clients down the side, servers across the top, grouped by namespace. A cell is what was seen between two workloads, and what policies allow there."),
    el("div", { class: "filters" }, el("span", { class: "pair", role: "group", "aria-label": "Policies" }, toggles), src.node, dst.node, state.node,
      el("label", {}, "Name ", find), el("label", {}, quiet, "also where nothing was seen"), el("span", { class: "pair", role: "group", "aria-label": "Cell size" }, zooms)),
    el("ul", { class: "legend" }, CELL_KINDS.map(([k]) => el("li", {}, swatch(k), STATE_NAMES[k]))),
    counts, where, box, details, el("div", { class: "card" }, el("h2", {}, "The same as a list"), list.node));
  draw();
}

/** The picture. `visible(i, j)` says whether a cell is drawn at all. */
function layout(side, rows, columns, visible, zoom) {
  if (!rows.length || !columns.length) return null;
  const room = Math.max(300, Math.min(1190, document.getElementById("main").clientWidth - 50) - 190);
  const fit = Math.min(22, Math.max(2, Math.floor(room / columns.length)));
  const size = Math.max(2, Math.round(fit * zoom)), named = size >= 11;
  const longest = (list) => Math.max(...list.map((i) => (named ? partyName(i) : spaceOf(i)).length));
  const left = Math.min(260, longest(rows) * 6.7 + 14), top = Math.min(named ? 220 : 150, longest(columns) * 6.5 + 14);
  const width = left + columns.length * size, height = top + rows.length * size;
  const paths = KINDS.map(() => []), corners = [], crosses = [], holes = [];
  rows.forEach((a, i) => {
    let j = 0;
    while (j < columns.length) {
      const kind = visible(a, columns[j]) ? side.kind[a * N + columns[j]] : NONE;
      let run = 1;
      // Neighbours of one kind are one rectangle; with room for gaps between them, each is its own.
      if (!named || kind === OPEN) while (j + run < columns.length && visible(a, columns[j + run]) && side.kind[a * N + columns[j + run]] === kind) run += 1;
      if (kind !== NONE) {
        const gap = named && kind !== OPEN ? 1 : 0, x = left + j * size, y = top + i * size;
        paths[kind].push("M" + (x + gap) + " " + (y + gap) + "h" + (run * size - 2 * gap) + "v" + (size - 2 * gap) + "h-" + (run * size - 2 * gap) + "z");
        if (named && kind === MORE) corners.push("M" + (x + size / 2) + " " + (y + 1) + "H" + (x + size - 1) + "V" + (y + size / 2) + "z");
        if (named && kind === DENIED_CELL) crosses.push("M" + (x + 4) + " " + (y + 4) + "L" + (x + size - 4) + " " + (y + size - 4) + "M" + (x + size - 4) + " " + (y + 4) + "L" + (x + 4) + " " + (y + size - 4));
        if (named && kind === UNSEEN) holes.push("M" + (x + size / 3.5) + " " + (y + size / 3.5) + "h" + (size - size / 1.75) + "v" + (size - size / 1.75) + "h-" + (size - size / 1.75) + "z");
      }
      j += kind === NONE ? 1 : run;
    }
  });
  const zebra = [], lines = [], labels = [], rowLabels = [], columnLabels = [];
  const breaks = (list) => list.map((p, i) => (i === 0 || spaceOf(p) !== spaceOf(list[i - 1]) ? i : -1)).filter((i) => i >= 0);
  if (named) rows.forEach((_, i) => { if (i % 2) zebra.push("M0 " + (top + i * size) + "h" + width + "v" + size + "H0z"); });
  for (const i of breaks(rows)) lines.push("M0 " + (top + i * size) + "H" + width);
  for (const j of breaks(columns)) lines.push("M" + (left + j * size) + " 0V" + height);
  const cut = (text, room) => (text.length > room ? text.slice(0, room - 1) + "…" : text);
  if (named) {
    rows.forEach((p, i) => rowLabels.push(svg("text", { x: left - 6, y: top + i * size + size / 2 + 4, "text-anchor": "end" }, cut(partyName(p), 35))));
    columns.forEach((p, j) => columnLabels.push(svg("text", { transform: "translate(" + (left + j * size + size / 2 + 4) + " " + (top - 6) + ") rotate(-90)" }, cut(partyName(p), 32))));
  } else {
    const spans = (list) => breaks(list).map((i, k, all) => [i, (all[k + 1] === undefined ? list.length : all[k + 1]) - i]);
    for (const [i, run] of spans(rows)) if (run * size >= 10) rowLabels.push(svg("text", { class: "space", x: left - 6, y: top + i * size + Math.min(run * size, 26) / 2 + 4, "text-anchor": "end" }, cut(spaceOf(rows[i]), 35)));
    for (const [j, run] of spans(columns)) if (run * size >= 10) columnLabels.push(svg("text", { class: "space", transform: "translate(" + (left + j * size + Math.min(run * size, 22) / 2 + 4) + " " + (top - 6) + ") rotate(-90)" }, cut(spaceOf(columns[j]), 22)));
  }
  labels.push(...rowLabels, ...columnLabels);
  const across = svg("rect", { class: "cross", x: 0, width, height: size, y: -99 }), down = svg("rect", { class: "cross", y: 0, height, width: size, x: -99 });
  const frame = svg("rect", { class: "picked", width: size, height: size, x: -99, y: -99 });
  const kinds = KINDS.map((kind, k) => (paths[k].length ? svg("path", { class: "m-" + kind, "data-kind": kind, d: paths[k].join("") }) : null));
  const node = svg("svg", { class: "matrix", width, height, tabindex: "0", role: "application", "aria-roledescription": "matrix",
    "aria-label": "Matrix of " + plural(rows.length, "client") + " by " + plural(columns.length, "server") + ". Arrow keys move, Enter shows a cell. The list below has the same edges." },
  svg("rect", { class: "bg", width, height }), svg("path", { class: "zebra", d: zebra.join("") }), kinds,
  svg("path", { class: "m-corner", d: corners.join("") }), svg("path", { class: "m-x", d: crosses.join("") }), svg("path", { class: "m-hole", d: holes.join("") }),
  svg("path", { class: "rule", d: lines.join("") }), labels, across, down, frame);
  let hot = [];
  return {
    node, rows, columns, size, left, top, at: null,
    cross(i, j) {
      across.setAttribute("y", top + i * size);
      down.setAttribute("x", left + j * size);
      hot.forEach((t) => t.classList.remove("hot"));
      hot = named ? [rowLabels[i], columnLabels[j]] : [];
      hot.forEach((t) => t.classList.add("hot"));
    },
    pick(i, j) { frame.setAttribute("x", left + j * size); frame.setAttribute("y", top + i * size); },
  };
}
