/* Search over everything: a combobox whose results are links into the views. */

const PER_GROUP = 6;
let searchIndex = null;
function buildIndex() {
  const rows = [];
  PARTIES.forEach((p, i) => { if (isWorkload(i)) rows.push(["Workloads", partyName(i), p.kind + " " + (p.labels || []).join(" "), partyHref(i)]); });
  DATA.ports.forEach((r) => {
    const who = end(r[0]), port = r[1] + " " + r[2];
    rows.push(["Ports", port + (r[3] ? " (" + r[3] + ")" : "") + " on " + who, r[11].join(" "), "#/ports?q=" + encodeURIComponent(who + " " + port)]);
  });
  EDGES.forEach((e) => {
    const [a, b] = [value(e, "src"), value(e, "dst")], to = value(e, "dst_address"), from = value(e, "src_address");
    const words = partyName(a) + " → " + partyName(b) + " " + value(e, "protocol") + " " + value(e, "port");
    rows.push([accepted(e) ? "Edges" : "Set aside", words, [from, to, value(e, "names").join(" "), DATA.statuses[value(e, "status")]].join(" "),
      edgeState(e) === "aside" ? (isWorkload(a) || isWorkload(b) ? partyHref(isWorkload(a) ? a : b) : "#/overview") : "#/matrix?cell=" + a + "-" + b]);
  });
  DATA.policies.forEach((p) => { const i = bySubject.get(p.ns + "/" + p.name); rows.push(["Policies", p.ns + "/" + p.name, p.selects, i === undefined ? "#/review?q=" + encodeURIComponent(p.ns + "/" + p.name) : partyHref(i)]); });
  DATA.findings.forEach((f) => rows.push(["Findings", f[0] + " " + f[2] + ": " + f[3], f[1], "#/findings?q=" + encodeURIComponent(f[0] + " " + f[2])]));
  return rows.map((r) => [...r, (r[1] + " " + r[2]).toLowerCase()]);
}

function setUpSearch() {
  const input = document.getElementById("search"), list = document.getElementById("found");
  let options = [], at = -1;
  const close = () => { list.hidden = true; input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); at = -1; };
  function mark(next) {
    if (options[at]) options[at].setAttribute("aria-selected", "false");
    at = options.length ? (next + options.length) % options.length : -1;
    if (at < 0) return;
    options[at].setAttribute("aria-selected", "true");
    options[at].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", options[at].id);
  }
  function go(option) { location.hash = option.dataset.href; close(); input.value = ""; }
  function find() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) { close(); return; }
    searchIndex = searchIndex || buildIndex();
    const groups = new Map();
    for (const row of searchIndex) {
      if (!words.every((w) => row[4].includes(w))) continue;
      if (!groups.has(row[0])) groups.set(row[0], []);
      groups.get(row[0]).push(row);
    }
    const children = [];
    options = [];
    for (const name of ["Workloads", "Policies", "Ports", "Edges", "Findings", "Set aside"]) {
      const found = groups.get(name) || [];
      if (!found.length) continue;
      const group = el("div", { role: "group", "aria-label": name }, el("div", { class: "group" }, name + " " + number(found.length)));
      for (const row of found.slice(0, PER_GROUP)) {
        const option = el("div", { role: "option", id: "found-" + options.length, "aria-selected": "false", "data-href": row[3], onclick: () => go(option) }, row[1]);
        options.push(option);
        group.append(option);
      }
      children.push(group);
    }
    list.replaceChildren(...(children.length ? children : [el("div", { class: "group" }, "Nothing found")]));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    at = -1;
    mark(0);
    say(options.length ? plural([...groups.values()].reduce((n, g) => n + g.length, 0), "result") : "Nothing found");
  }
  input.addEventListener("input", find);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") mark(at + 1);
    else if (event.key === "ArrowUp") mark(at - 1);
    else if (event.key === "Enter" && options[at] && !list.hidden) go(options[at]);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
  input.addEventListener("focus", find);
  input.addEventListener("blur", () => setTimeout(close, 150));
  list.addEventListener("mousedown", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); input.focus(); }
  });
}
