/* One workload: who calls it, what it calls, the rules and what stands behind them, before and after. */

const MOST = 14;

function showWorkload(parts) {
  const [, space, kind, name] = parts;
  const i = PARTIES.findIndex((p) => p.ns === space && p.kind === kind && p.name === name);
  const heading = document.getElementById("h-workload");
  if (i < 0) {
    heading.textContent = "No such workload";
    fill("workload", el("p", {}, [space, kind, name].join("/") + " is not in this report."), el("p", {}, el("a", { href: "#/workloads" }, "All workloads")));
    return;
  }
  const me = PARTIES[i];
  heading.textContent = me.ns + "/" + me.name;
  const mine = EDGES.filter((e) => value(e, "src") === i || value(e, "dst") === i);
  const table = edgeTable("Edges of this workload", "", { sort: "" });
  fill("workload",
    el("p", { class: "meta" }, el("span", {}, el("b", {}, me.kind)), el("span", {}, plural(me.pods || 0, "live pod")),
      el("span", { class: "mono" }, (me.labels || []).join("  ")), me.need ? el("span", {}, "need: ", el("b", {}, me.need)) : null,
      el("a", { href: "#/matrix?find=" + encodeURIComponent(partyName(i)) }, "in the matrix")),
    el("div", { class: "card" }, el("h2", {}, "Clients and servers"), diagram(i, mine)),
    coverageCard(me),
    rulesCard(i),
    changesCard(i),
    el("div", { class: "card" }, el("h2", {}, "Edges, and what was set aside"), table.node, leftOut()));
  table.update(mine);
}

/** What was set aside beyond the page's limit: counted, so that no list seems whole that is not. */
function leftOut() {
  const rows = Object.entries(DATA.left_out);
  if (!rows.length) return null;
  const words = rows.map(([status, count]) => number(count) + " " + status).join("; ");
  return el("p", { class: "dim" }, "Counted, but too many to list on this page (`netpol-gen edges --all` lists them): " + words + ".");
}

/** Clients on the left, the workload with its ports in the middle, servers on the right. */
function diagram(i, mine) {
  const drawn = mine.filter((e) => edgeState(e) !== "aside");
  if (!drawn.length) return el("p", { class: "dim" }, "No edge was accepted at this workload.");
  const grouped = (end, other) => {
    const groups = new Map();
    drawn.filter((e) => value(e, end) === i).forEach((e) => {
      const k = value(e, other);
      if (!groups.has(k)) groups.set(k, []);
      groups.get(k).push(e);
    });
    const busy = (edges) => edges.reduce((n, e) => n + value(e, "flows"), 0);
    // The busiest are drawn, in the order of their names.
    return [...groups].sort((a, b) => busy(b[1]) - busy(a[1]) || a[0] - b[0]).map((g, k) => [...g, k < MOST]).sort((a, b) => b[2] - a[2] || a[0] - b[0]);
  };
  const clients = grouped("dst", "src"), servers = grouped("src", "dst");
  const ports = distinct(drawn.filter((e) => value(e, "dst") === i).map((e) => value(e, "port") * 4 + ["TCP", "UDP", "SCTP"].indexOf(value(e, "protocol"))));
  const portName = (p) => {
    const protocol = ["TCP", "UDP", "SCTP"][p % 4], number = Math.floor(p / 4);
    const declared = (PARTIES[i].declared || []).find((d) => d[0] === protocol && d[1] === number);
    return [protocol + " " + number, declared ? declared[2] || "declared" : "not declared"];
  };
  const STEP = 44, BOX = 36, W = 980, LEFT = 290, MID = 350, RIGHT = 630, END = 690;
  const shownClients = clients.slice(0, MOST), shownServers = servers.slice(0, MOST);
  const count = Math.max(shownClients.length + (clients.length > MOST), shownServers.length + (servers.length > MOST), 1);
  const middle = 62 + Math.max(ports.length, 1) * 30;
  const height = Math.max(count * STEP, middle) + 24;
  const top = (n) => (height - n * STEP) / 2 + (STEP - BOX) / 2;
  const parts = [], wires = [];
  const node = (x, y, width, party, lines) => {
    const shape = [svg("rect", { class: "box", x, y, width, height: BOX, rx: 6 }), svg("text", { x: x + 10, y: y + 15 }, cutText(partyName(party), 38)), svg("text", { class: "sub", x: x + 10, y: y + 29 }, cutText(lines, 46))];
    const title = svg("title", {}, partyName(party) + " " + lines);
    return isWorkload(party) ? svg("a", { href: partyHref(party) }, title, shape) : svg("g", {}, title, shape);
  };
  const cutText = (text, room) => (text.length > room ? text.slice(0, room - 1) + "…" : text);
  const addresses = (edges, end) => {
    const found = distinct(edges.map((e) => value(e, end + "_address")).filter(Boolean)), names = distinct(edges.flatMap((e) => value(e, "names")));
    return names.length ? names.join(", ") : found.length > 2 ? found.length + " addresses" : found.join(", ");
  };
  const wire = (x1, y1, x2, y2, edges) => {
    const states = edges.map((e) => edgeState(e)), state = states.includes("denied") ? "denied" : states.includes("unknown") ? "unknown" : "ok";
    const bend = (x1 + x2) / 2;
    wires.push(svg("path", { class: "wire " + state + (edges.every((e) => !value(e, "strong")) ? " weak" : ""), d: "M" + x1 + " " + y1 + "C" + bend + " " + y1 + " " + bend + " " + y2 + " " + x2 + " " + y2 }));
  };
  const meTop = (height - middle) / 2;
  const portY = (p) => meTop + 62 + ports.indexOf(p) * 30;
  const start = top(shownClients.length + (clients.length > MOST));
  shownClients.forEach(([party, edges], k) => {
    const y = start + k * STEP, used = distinct(edges.map((e) => value(e, "protocol") + " " + value(e, "port"))), extra = addresses(edges, "src");
    parts.push(node(0, y, LEFT, party, extra || plural(edges.reduce((n, e) => n + value(e, "flows"), 0), "flow")));
    ports.filter((p) => used.includes(portName(p)[0])).forEach((p) => wire(LEFT, y + BOX / 2, MID, portY(p), edges.filter((e) => value(e, "protocol") + " " + value(e, "port") === portName(p)[0])));
  });
  if (clients.length > MOST) parts.push(svg("text", { class: "sub", x: 10, y: start + shownClients.length * STEP + 20 }, "and " + plural(clients.length - MOST, "client") + " more in the list below"));
  const begin = top(shownServers.length + (servers.length > MOST));
  shownServers.forEach(([party, edges], k) => {
    const y = begin + k * STEP, used = distinct(edges.map((e) => value(e, "protocol") + " " + value(e, "port"))).join(", "), extra = addresses(edges, "dst");
    parts.push(node(END, y, W - END, party, used + (extra ? "; " + extra : "")));
    wire(RIGHT, height / 2, END, y + BOX / 2, edges);
  });
  if (servers.length > MOST) parts.push(svg("text", { class: "sub", x: END + 10, y: begin + shownServers.length * STEP + 20 }, "and " + plural(servers.length - MOST, "server") + " more in the list below"));
  const chips = ports.map((p) => {
    const [label, note] = portName(p);
    return [svg("rect", { class: "chip", x: MID, y: portY(p) - 12, width: 190, height: 24, rx: 12 }), svg("text", { x: MID + 14, y: portY(p) + 4 }, label), svg("text", { class: "sub", x: MID + 95, y: portY(p) + 4 }, cutText(note, 15))];
  });
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Diagram" },
    svg("svg", { class: "diagram", viewBox: "0 0 " + W + " " + height, role: "group", "aria-label": plural(clients.length, "client") + ", " + plural(servers.length, "server") },
      wires, svg("rect", { class: "self", x: MID - 14, y: meTop, width: RIGHT - MID + 14, height: middle, rx: 8 }),
      svg("text", { x: MID + 4, y: meTop + 22, "font-weight": 700 }, cutText(PARTIES[i].name, 32)), svg("text", { class: "sub", x: MID + 4, y: meTop + 39 }, PARTIES[i].ns + ", " + PARTIES[i].kind),
      ports.length ? null : svg("text", { class: "sub", x: MID + 4, y: meTop + 66 }, "nobody was seen calling it"), chips, parts));
}

function coverageCard(me) {
  const rows = ["Ingress", "Egress"].map((direction) => {
    const gap = (me.gaps || []).find((g) => g[0] === direction), state = (me.coverage || {})[direction];
    return el("tr", {}, el("th", { scope: "row" }, direction), el("td", {}, gap ? tag("none", "stays open") : state ? el("span", { class: "state " + state[0].toLowerCase() }, state[0]) : ""),
      el("td", { class: "dim" }, [gap ? gap[1] : "", state ? state[1] : ""].filter(Boolean).join("; ")));
  });
  return el("div", { class: "card" }, el("h2", {}, "Coverage"), el("table", {}, el("tbody", {}, rows)));
}

function rulesCard(i) {
  const me = PARTIES[i], after = (me.after || []).map((k) => DATA.policies[k]), before = (me.before || []).map((k) => DATA.policies[k]);
  const gone = before.filter((p) => !after.includes(p));
  return el("div", { class: "card" }, el("h2", {}, "Policies and the evidence behind their rules"),
    after.length ? null : el("p", { class: "dim" }, "No policy selects it: everything is allowed."),
    after.map((p) => policyBlock(p, p.generated ? "generated" : "in force today")),
    gone.map((p) => policyBlock(p, "in force today, replaced")));
}
function policyBlock(policy, note) {
  const rules = policy.rules || [];
  return el("div", {}, el("h3", {}, policy.ns + "/" + policy.name + " ", el("span", { class: "tag" }, note)),
    el("p", { class: "dim" }, "selects ", el("span", { class: "mono" }, policy.selects), "; restricts " + (policy.types || []).join(" and ")),
    el("ul", { class: "rulelist" }, rules.map(ruleItem)),
    el("details", {}, el("summary", {}, "YAML"), yamlBlock(policy.yaml)));
}
function ruleItem(rule) {
  const edges = (rule.edges || []).map((k) => EDGES[k]);
  const flows = edges.reduce((n, e) => n + value(e, "flows"), 0);
  const times = edges.filter((e) => value(e, "first"));
  const window = times.length ? when(Math.min(...times.map((e) => value(e, "first")))) + " to " + when(Math.max(...times.map((e) => value(e, "last")))) : "at an unknown time";
  const seen = edges.length
    ? plural(edges.length, "edge") + ", " + plural(flows, "flow") + ", " + window
    : rule.inferred ? "inferred" : "never used by an observed edge";
  const weak = edges.filter((e) => !value(e, "strong")).length;
  const details = el("details", {}, el("summary", {}, seen + (weak ? ", " + weak + " on weak evidence" : "")));
  details.addEventListener("toggle", () => {
    // Rows are made when somebody looks: a busy workload has hundreds.
    if (!details.open || details.children.length > 1) return;
    const table = edgeTable("Evidence", "r", { filter: false });
    details.append(table.node);
    table.update(edges);
  });
  return el("li", {}, el("div", { class: "rulehead" }, el("span", { class: "dir" }, rule.direction), el("span", {}, peerList(rule.peers)), el("span", { class: "mono" }, rule.ports.join(", "))),
    edges.length ? details : el("p", { class: "dim" }, seen),
    rule.inferred ? el("p", {}, tag("unseen", "inferred"), " " + rule.inferred) : null, rule.widened ? el("p", {}, tag("unseen", "widened"), " " + rule.widened) : null);
}
function yamlBlock(text) {
  const pre = el("pre", { tabindex: "0" }, text);
  const button = el("button", { type: "button", onclick: () => copy(text, pre, button) }, "Copy");
  return el("div", { class: "yaml" }, pre, button);
}
async function copy(text, pre, button) {
  let done = false;
  if (navigator.clipboard) {
    try { await navigator.clipboard.writeText(text); done = true; } catch (error) { if (!(error instanceof DOMException)) throw error; }
  }
  if (!done) {
    // A page opened from disk may lack the clipboard: select the text, so that the keyboard copies it.
    const range = document.createRange();
    range.selectNodeContents(pre);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    done = document.execCommand("copy");
  }
  button.textContent = done ? "Copied" : "Selected";
  say(done ? "Copied" : "The text is selected; copy it with the keyboard");
}

function changesCard(i) {
  const rows = [...DATA.changes.filter((c) => (c[1] === i || c[2] === i) && c[0] === "broken"), ...turned(i), ...DATA.changes.filter((c) => (c[1] === i || c[2] === i) && c[0] !== "broken")];
  const before = (PARTIES[i].before || []).map((k) => DATA.policies[k]), after = (PARTIES[i].after || []).map((k) => DATA.policies[k]);
  const list = (policies) => (policies.length ? el("ul", { class: "plain" }, policies.map((p) => el("li", {}, p.ns + "/" + p.name, el("span", { class: "dim" }, " " + (p.types || []).join(", "))))) : el("p", { class: "dim" }, "none: open"));
  const table = tableOf({
    caption: "Changes", text: (c) => [c[0], end(c[1]), end(c[2]), c[3], c[4]].join(" "), prefix: "d", page: 10, empty: "Nothing changes for this workload.",
    columns: [
      { name: "change", sort: (c) => ["broken", "opened", "closed"].indexOf(c[0]), show: (c) => tag(c[0], c[0]) },
      { name: "client", sort: (c) => end(c[1]), show: (c) => partyLink(c[1]) }, { name: "server", sort: (c) => end(c[2]), show: (c) => partyLink(c[2]) },
      { name: "before", show: (c) => c[3] }, { name: "after", show: (c) => c[4] }, { name: "note", show: (c) => c[5] },
    ],
  });
  const node = el("div", { class: "card" }, el("h2", {}, "Before and after"),
    el("div", { class: "sides" }, el("div", {}, el("h3", {}, "Today"), list(before)), el("div", {}, el("h3", {}, "With the generated policies"), list(after))), table.node);
  if (DATA.unlisted) node.append(el("p", { class: "dim" }, number(DATA.unlisted) + " rows about address ranges, of all workloads, are not listed in this page; the command diff prints them."));
  table.update(rows);
  return node;
}
/** Rows between this workload and others, from the two matrices. */
function turned(i) {
  const before = sideOf("before").allowed, after = sideOf("after").allowed, rows = [];
  const broken = new Set(DATA.changes.filter((c) => typeof c[1] === "number" && typeof c[2] === "number").map((c) => c[1] * N + c[2]));
  const look = (a, b) => {
    const cell = a * N + b;
    if (!isWorkload(a) || !isWorkload(b) || broken.has(cell)) return;
    for (const change of DATA.turned[before[cell] + "-" + after[cell]] || []) rows.push([change, a, b, DATA.texts[before[cell]][0], DATA.texts[after[cell]][0], ""]);
  };
  for (let j = 0; j < N; j += 1) { look(j, i); if (j !== i) look(i, j); }
  return rows.sort((a, b) => compare(b[0], a[0]) || a[1] - b[1] || a[2] - b[2]);
}
const end = (e) => (typeof e === "number" ? partyName(e) : e);
