/* Sortable, filterable tables; ports, findings, workloads and the list of edges are made of them. */

const PAGE = 100;
const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0);

/**
 * `columns`: {name, sort(row) -> number or text, show(row) -> node or text, num, head}. `text(row)` is what the filter
 * looks at. `prefix` keeps the sort order and the filter in the address bar under its own names.
 * Returns {node, update(rows)}.
 */
function tableOf({ caption, columns, text, prefix = "", filter = true, extra = [], sort = "", empty = "Nothing.", page = PAGE }) {
  const { params } = readAddress();
  const names = { sort: prefix + "sort", q: prefix + "q" };
  let rows = [], order = params.get(names.sort) || sort, limit = page;
  const body = el("tbody", {}), count = el("span", { class: "dim", role: "status" }), rest = el("p", { class: "more noprint" });
  const input = filter ? el("input", { type: "text", id: "filter-" + caption.replace(/\W+/g, "-"), spellcheck: "false", autocomplete: "off" }) : null;
  if (input) {
    input.value = params.get(names.q) || "";
    input.addEventListener("input", () => { limit = page; keep({ [names.q]: input.value }); draw(); });
  }
  const heads = columns.map((column) => {
    if (!column.sort) return el("th", { scope: "col", class: column.num ? "num" : null }, column.name);
    const button = el("button", { type: "button", class: "sort", onclick: () => turn(column.name) }, column.name);
    return el("th", { scope: "col", class: column.num ? "num" : null }, button);
  });
  function turn(name) {
    order = order === name ? "-" + name : name;
    limit = page;
    keep({ [names.sort]: order === sort ? "" : order });
    draw();
    say(caption + " sorted by " + name + (order.startsWith("-") ? ", descending" : ", ascending"));
  }
  function chosen() {
    const words = input ? input.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
    const found = words.length ? rows.filter((row) => words.every((w) => text(row).toLowerCase().includes(w))) : rows.slice();
    const column = columns.find((c) => c.name === order.replace(/^-/, ""));
    if (column && column.sort) {
      const keyed = found.map((row, i) => [column.sort(row), i, row]);
      const way = order.startsWith("-") ? -1 : 1;
      keyed.sort((a, b) => way * compare(a[0], b[0]) || a[1] - b[1]);
      return keyed.map((k) => k[2]);
    }
    return found;
  }
  function draw() {
    const found = chosen();
    columns.forEach((column, i) => {
      if (column.name === order) heads[i].setAttribute("aria-sort", "ascending");
      else if ("-" + column.name === order) heads[i].setAttribute("aria-sort", "descending");
      else heads[i].removeAttribute("aria-sort");
    });
    const shown = found.slice(0, limit).map((row) =>
      el("tr", {}, columns.map((c) => (c.head ? el("th", { scope: "row" }, c.show(row)) : el("td", { class: c.num ? "num" : c.cls || null }, c.show(row))))));
    if (!shown.length) shown.push(el("tr", {}, el("td", { colspan: columns.length, class: "dim" }, rows.length ? "Nothing matches the filter." : empty)));
    body.replaceChildren(...shown);
    count.textContent = found.length === rows.length ? plural(rows.length, "row") : number(found.length) + " of " + plural(rows.length, "row");
    rest.replaceChildren();
    if (found.length > limit) {
      rest.append(el("button", { type: "button", onclick: () => { limit = Infinity; draw(); } }, "Show all " + number(found.length)), " ",
        el("span", { class: "dim" }, number(limit) + " shown"));
    }
  }
  const table = el("table", {}, el("caption", { class: "hide" }, caption), el("thead", {}, el("tr", {}, heads)), body);
  const bar = input || extra.length
    ? el("div", { class: "filters" }, input ? el("label", {}, "Filter ", input) : null, extra, el("span", { class: "grow" }), count) : null;
  const node = el("div", {}, bar, el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, table), rest);
  return { node, update(next) { rows = next; limit = page; draw(); } };
}

/** Options of a select from values with counts; keeps its choice in the address bar. */
function chooser(label, name, values, changed, all = "all") {
  const { params } = readAddress();
  const select = el("select", { onchange: () => { keep({ [name]: select.value }); changed(); } },
    el("option", { value: "" }, all), values.map((v) => el("option", { value: v }, v)));
  select.value = values.includes(params.get(name)) ? params.get(name) : "";
  return { node: el("label", {}, label + " ", select), get value() { return select.value; } };
}
const distinct = (values) => [...new Set(values)].sort(compare);

/* --- lists of edges ------------------------------------------------------------------------------------------- */

const EDGE_TABLE = [
  { name: "client", sort: (e) => partyName(value(e, "src")), show: (e) => partyLink(value(e, "src"), value(e, "src_address")), cls: "party" },
  { name: "server", sort: (e) => partyName(value(e, "dst")), show: (e) => [partyLink(value(e, "dst"), value(e, "dst_address")), nameList(e)], cls: "party" },
  { name: "port", sort: (e) => value(e, "port"), show: (e) => value(e, "protocol") + " " + value(e, "port"), cls: "nowrap" },
  { name: "state", sort: (e) => DATA.statuses[value(e, "status")] + edgeState(e), show: (e) => stateCell(e), cls: "st" },
  { name: "flows", num: true, sort: (e) => value(e, "flows"), show: (e) => number(value(e, "flows")) },
  { name: "first seen", sort: (e) => value(e, "first"), show: (e) => when(value(e, "first")) || el("span", { class: "dim" }, "unknown"), cls: "when" },
  { name: "last seen", sort: (e) => value(e, "last"), show: (e) => when(value(e, "last")) || el("span", { class: "dim" }, "unknown"), cls: "when" },
  { name: "evidence", sort: (e) => value(e, "strong") + value(e, "direction"), show: (e) => evidence(e) },
];
function nameList(e) { return value(e, "names").length ? el("div", { class: "dim" }, value(e, "names").join(", ")) : null; }
function stateCell(e) {
  const state = edgeState(e);
  const words = state === "aside" ? DATA.statuses[value(e, "status")] : state === "denied" && !accepted(e) ? "denied today" : undefined;
  return [tag(state, words), value(e, "why") ? el("div", { class: "dim" }, value(e, "why")) : null];
}
function evidence(e) {
  const strength = value(e, "strong") ? "strong" : "weak";
  return el("details", {}, el("summary", {}, strength + ": " + value(e, "direction")),
    el("ul", { class: "plain mono" }, value(e, "samples").map((s) => el("li", {}, s))),
    el("div", { class: "dim" }, plural(value(e, "records"), "record") + ", " + plural(value(e, "days"), "day")),
    value(e, "dialled").length ? el("div", { class: "dim" }, "dialled " + value(e, "dialled").join(", ")) : null);
}
function edgeText(e) {
  return [partyName(value(e, "src")), partyName(value(e, "dst")), value(e, "src_address"), value(e, "dst_address"),
    value(e, "protocol") + " " + value(e, "port"), DATA.statuses[value(e, "status")], edgeState(e), value(e, "names").join(" "), value(e, "direction")].join(" ");
}
function edgeTable(caption, prefix, more) {
  return tableOf({ caption, columns: EDGE_TABLE, text: edgeText, prefix, empty: "No edge.", ...more });
}

/* --- views ----------------------------------------------------------------------------------------------------- */

function showPorts() {
  if (!DATA.ports.length) { fill("ports", el("p", {}, "The port inventory is empty.")); return; }
  const P = { workload: 0, protocol: 1, port: 2, name: 3, declared: 4, service: 5, clients: 6, flows: 7, first: 8, last: 9, allowed: 10, marks: 11, seen: 12 };
  const label = (r) => (typeof r[P.workload] === "string" ? r[P.workload] : partyName(r[P.workload]));
  const clients = (r) => {
    if (!r[P.clients].length) return "";
    const list = r[P.clients].map((c, i) => [i ? ", " : "", partyLink(c)]);
    return r[P.clients].length < 4 ? el("span", {}, list) : el("details", {}, el("summary", {}, plural(r[P.clients].length, "client")), list);
  };
  const space = chooser("Namespace", "ns", distinct(DATA.ports.map((r) => (typeof r[P.workload] === "number" ? spaceOf(r[P.workload]) : r[P.workload]))), refresh);
  const mark = chooser("Mark", "mark", distinct(DATA.ports.flatMap((r) => r[P.marks])), refresh, "any");
  const table = tableOf({
    caption: "Ports", sort: "workload", extra: [space.node, mark.node],
    text: (r) => [label(r), r[P.protocol] + " " + r[P.port], r[P.name], r[P.service].join(" "), r[P.marks].join(" "), r[P.allowed], r[P.clients].map((c) => (typeof c === "number" ? partyName(c) : c)).join(" ")].join(" "),
    columns: [
      { name: "workload", head: true, sort: (r) => label(r), show: (r) => partyLink(r[P.workload]) },
      { name: "port", sort: (r) => r[P.port], show: (r) => [r[P.protocol] + " " + r[P.port], r[P.name] ? el("div", { class: "dim" }, r[P.name]) : null], cls: "nowrap" },
      { name: "declared", sort: (r) => r[P.declared], show: (r) => r[P.declared] },
      { name: "Service", sort: (r) => r[P.service].join(), show: (r) => r[P.service].map((x) => el("div", {}, x)) },
      { name: "clients", sort: (r) => r[P.clients].length, show: clients },
      { name: "flows", num: true, sort: (r) => r[P.flows], show: (r) => (r[P.flows] ? number(r[P.flows]) : r[P.seen] === "unknown" ? "unknown" : "") },
      { name: "last seen", sort: (r) => r[P.last], show: (r) => when(r[P.last]), cls: "when" },
      { name: "allowed", sort: (r) => r[P.allowed], show: (r) => r[P.allowed] },
      { name: "marks", sort: (r) => r[P.marks].join(), show: (r) => r[P.marks].map((m) => el("div", { class: "mark" }, m)), cls: "marks" },
    ],
  });
  function refresh() {
    table.update(DATA.ports.filter((r) => (!space.value || (typeof r[P.workload] === "number" ? spaceOf(r[P.workload]) : r[P.workload]) === space.value) && (!mark.value || r[P.marks].includes(mark.value))));
  }
  fill("ports", el("p", { class: "dim" }, "Who listens on what, whether anybody declared it, whether anybody uses it, and what admits it."), el("div", { class: "card" }, table.node),
    DATA.wide.length ? el("div", { class: "card" }, el("h2", {}, "Rules that admit ports without naming them"),
      el("ul", { class: "plain" }, DATA.wide.map(([who, ports, rule]) => el("li", {}, partyLink(who), ": " + ports + " by ", el("code", {}, rule))))) : null);
  refresh();
}

function showFindings() {
  const [ID, SEVERITY, SUBJECT, MESSAGE, FIX, PLACE, SUPPRESSED] = [0, 1, 2, 3, 4, 5, 6];
  const rank = { error: 0, warning: 1, info: 2 };
  const severity = chooser("Severity", "severity", ["error", "warning", "info"], refresh);
  const rule = chooser("Id", "id", distinct(DATA.findings.map((f) => f[ID])), refresh);
  const table = tableOf({
    caption: "Findings", extra: [severity.node, rule.node], text: (f) => f.join(" "), empty: "No finding.",
    columns: [
      { name: "severity", sort: (f) => rank[f[SEVERITY]], show: (f) => tag(f[SEVERITY], f[SEVERITY]) },
      { name: "id", sort: (f) => f[ID], show: (f) => el("code", {}, f[ID]) },
      { name: "about", sort: (f) => f[SUBJECT], show: (f) => subjectLink(f[SUBJECT]) },
      { name: "finding", sort: (f) => f[MESSAGE], show: (f) => [f[MESSAGE], f[SUPPRESSED] ? el("div", { class: "dim" }, "suppressed: " + f[SUPPRESSED]) : null] },
      { name: "what to do", show: (f) => f[FIX] },
      { name: "place", sort: (f) => f[PLACE], show: (f) => el("span", { class: "mono" }, f[PLACE]) },
    ],
  });
  function refresh() {
    table.update(DATA.findings.filter((f) => (!severity.value || f[SEVERITY] === severity.value) && (!rule.value || f[ID] === rule.value)));
  }
  fill("findings", el("p", { class: "dim" }, "Lint findings, notes of this run, and directions that stay open for lack of evidence."), el("div", { class: "card" }, table.node));
  refresh();
}
const bySubject = new Map();
PARTIES.forEach((p, i) => { if (p.ns !== undefined) bySubject.set(p.ns + "/" + p.name + "[" + p.kind + "]", i); });
DATA.policies.forEach((p) => {
  const i = PARTIES.findIndex((w) => (w.after || []).includes(DATA.policies.indexOf(p)) || (w.before || []).includes(DATA.policies.indexOf(p)));
  if (i >= 0 && !bySubject.has(p.ns + "/" + p.name)) bySubject.set(p.ns + "/" + p.name, i);
});
function subjectLink(subject) {
  const i = bySubject.get(subject);
  return i === undefined ? subject : el("a", { href: partyHref(i) }, subject);
}

function showWorkloads() {
  const counts = PARTIES.map(() => [0, 0]);
  EDGES.filter(accepted).forEach((e) => { counts[value(e, "dst")][0] += 1; counts[value(e, "src")][1] += 1; });
  const space = chooser("Namespace", "ns", distinct(PARTIES.filter((p) => p.ns !== undefined).map((p) => p.ns)), refresh);
  const state = (i, direction) => ((PARTIES[i].coverage || {})[direction] || [""])[0];
  const gap = (i, direction) => (PARTIES[i].gaps || []).some((g) => g[0] === direction);
  const cell = (i, direction) => (gap(i, direction) ? el("span", { class: "dim" }, "open") : el("span", { class: "state " + state(i, direction).toLowerCase() }, state(i, direction) || "no edge"));
  const table = tableOf({
    caption: "Workloads", extra: [space.node], text: (i) => partyName(i) + " " + PARTIES[i].kind + " " + (PARTIES[i].labels || []).join(" "),
    columns: [
      { name: "workload", head: true, sort: (i) => partyName(i), show: (i) => partyLink(i) },
      { name: "kind", sort: (i) => PARTIES[i].kind, show: (i) => PARTIES[i].kind },
      { name: "pods", num: true, sort: (i) => PARTIES[i].pods || 0, show: (i) => number(PARTIES[i].pods || 0) },
      { name: "edges in", num: true, sort: (i) => counts[i][0], show: (i) => number(counts[i][0]) },
      { name: "edges out", num: true, sort: (i) => counts[i][1], show: (i) => number(counts[i][1]) },
      { name: "ingress", sort: (i) => state(i, "Ingress"), show: (i) => cell(i, "Ingress") },
      { name: "egress", sort: (i) => state(i, "Egress"), show: (i) => cell(i, "Egress") },
      { name: "policies today", num: true, sort: (i) => (PARTIES[i].before || []).length, show: (i) => (PARTIES[i].before || []).length },
      { name: "policies after", num: true, sort: (i) => (PARTIES[i].after || []).length, show: (i) => (PARTIES[i].after || []).length },
    ],
  });
  function refresh() { table.update(PARTIES.map((_, i) => i).filter((i) => isWorkload(i) && (!space.value || spaceOf(i) === space.value))); }
  fill("workloads", el("div", { class: "card" }, table.node));
  refresh();
}

/** Peers one below the other; many addresses are folded up. */
function peerList(peers) {
  const lines = peers.map((p) => el("div", {}, p));
  if (peers.length <= 6) return lines;
  return [lines.slice(0, 4), el("details", {}, el("summary", {}, "and " + number(peers.length - 4) + " more"), lines.slice(4))];
}

/** What is allowed, for whom, on what evidence: the table that a review is held with, and that prints. */
function showReview() {
  const rows = [];
  DATA.sides.after.policies.forEach((k) => {
    const policy = DATA.policies[k];
    const needs = PARTIES.filter((p) => (p.after || []).includes(k) && p.need).map((p) => p.need);
    (policy.rules || []).forEach((rule) => {
      const edges = (rule.edges || []).map((i) => EDGES[i]);
      rows.push({
        policy, rule, need: policy.need || distinct(needs).join("; "),
        flows: edges.reduce((n, e) => n + value(e, "flows"), 0), last: Math.max(0, ...edges.map((e) => value(e, "last"))),
      });
    });
  });
  const name = (r) => r.policy.ns + "/" + r.policy.name;
  const table = tableOf({
    caption: "Allowed connections", sort: "policy",
    text: (r) => [name(r), r.rule.direction, r.rule.peers.join(" "), r.rule.ports.join(" "), r.need].join(" "),
    columns: [
      { name: "policy", head: true, sort: name, show: (r) => [subjectLink(name(r)), el("div", { class: "dim" }, r.policy.generated ? "generated" : "in force today")] },
      { name: "direction", sort: (r) => r.rule.direction, show: (r) => r.rule.direction },
      { name: "peers", sort: (r) => r.rule.peers.join(), show: (r) => peerList(r.rule.peers), cls: "wide" },
      { name: "ports", sort: (r) => r.rule.ports.join(), show: (r) => r.rule.ports.map((p) => el("div", { class: "nowrap" }, p)) },
      { name: "flows", num: true, sort: (r) => r.flows, show: (r) => (r.flows ? number(r.flows) : "none seen") },
      { name: "last seen", sort: (r) => r.last, show: (r) => when(r.last) || (r.flows ? "unknown" : ""), cls: "when" },
      { name: "business need", sort: (r) => r.need, show: (r) => r.need },
      { name: "reviewed by", show: () => "", cls: "blank" },
    ],
  });
  fill("review", el("p", { class: "dim" }, "Every rule in force afterwards, with the evidence behind it. The business need comes from the annotation netpol-gen.dev/need of the policy or the workload. Print this page to sign it; the digest at the foot identifies its data."), el("div", { class: "card" }, table.node));
  table.update(rows);
}
