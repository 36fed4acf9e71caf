"use strict";
/* Data, elements, the address bar. Text only ever becomes a text node: nothing from the data is parsed as markup. */

const DATA = JSON.parse(document.getElementById("data").textContent);
const AT = Object.fromEntries(DATA.columns.map((name, i) => [name, i]));
const DENIED = DATA.statuses.indexOf("currently denied by policy");
const ALLOW = 0, DENY = 1;
const SVG_NS = "http://www.w3.org/2000/svg";

/** An element with attributes and children; `on…` keys are listeners. */
function make(ns, name, attributes, children) {
  const node = ns ? document.createElementNS(ns, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== ""));
  return node;
}
function el(name, attributes, ...children) { return make(null, name, attributes, children); }
function svg(name, attributes, ...children) { return make(SVG_NS, name, attributes, children); }

const PARTIES = DATA.parties;
const isWorkload = (i) => PARTIES[i].ns !== undefined;
/** `ns/name`, with the kind where two workloads share a name. */
const twins = new Map();
for (const p of PARTIES) if (p.ns !== undefined) twins.set(p.ns + "/" + p.name, (twins.get(p.ns + "/" + p.name) || 0) + 1);
function partyName(i) {
  const p = PARTIES[i];
  if (p.ns === undefined) return p.name;
  const short = p.ns + "/" + p.name;
  return twins.get(short) > 1 ? short + "[" + p.kind + "]" : short;
}
const spaceOf = (i) => (isWorkload(i) ? PARTIES[i].ns : PARTIES[i].name);
function partyHref(i) {
  const p = PARTIES[i];
  return "#/workload/" + [p.ns, p.kind, p.name].map(encodeURIComponent).join("/");
}
/** A link to a workload's page; plain text for what has none. A number, or a text from outside the table of parties. */
function partyLink(end, address) {
  if (typeof end === "string") return document.createTextNode(end);
  if (isWorkload(end)) return el("a", { href: partyHref(end) }, partyName(end));
  return el("span", {}, partyName(end), address ? el("span", { class: "mono dim" }, " " + address) : null);
}

const number = (n) => n.toLocaleString("en-US");
const plural = (n, one, many) => number(n) + " " + (n === 1 ? one : many || one + "s");
function when(seconds) { return seconds ? new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ") + "Z" : ""; }

const EDGES = DATA.edges;
const value = (edge, name) => edge[AT[name]];
const accepted = (edge) => value(edge, "status") === 0;
/** `ok`, `denied`, `unknown` or `aside`, as drawn and filtered everywhere. */
function edgeState(edge, side) {
  const status = value(edge, "status");
  if (status === DENIED && DENIED > 0) return "denied";
  if (status !== 0) return "aside";
  const verdict = value(edge, side || "after");
  return verdict === ALLOW ? "ok" : verdict === DENY ? "denied" : "unknown";
}
const STATE_NAMES = {
  ok: "seen and allowed", more: "seen; more is allowed", denied: "seen and denied", unknown: "seen; the CNI or a missing fact decides",
  unseen: "allowed, never seen", open: "nothing restricts it, never seen", aside: "set aside",
};
const tag = (state, words) => el("span", { class: "tag " + state }, words || STATE_NAMES[state] || state);

/* --- the address bar ------------------------------------------------------------------------------------------- */

function decoded(text) {
  try { return decodeURIComponent(text); } catch (error) { if (error instanceof URIError) return text; throw error; }
}
function readAddress() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { parts: path.split("/").map(decoded), params: new URLSearchParams(query || "") };
}
/** Keep the view in the fragment without a new entry in the history. Empty values are left out. */
function keep(values) {
  const { parts, params } = readAddress();
  for (const [key, v] of Object.entries(values)) {
    if (v === "" || v === null || v === undefined || v === false) params.delete(key);
    else params.set(key, String(v));
  }
  params.sort();
  const query = params.toString();
  history.replaceState(null, "", "#/" + parts.map(encodeURIComponent).join("/") + (query ? "?" + query : ""));
}
function say(text) { document.getElementById("live").textContent = text; }
function section(name) { return document.getElementById("view-" + name); }
/** Replace everything in a view below its heading. */
function fill(name, ...children) {
  const view = section(name);
  while (view.children.length > 1) view.lastChild.remove();
  view.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined));
}
