/* Which view is shown: the fragment says so. */

const VIEWS = { overview: null, matrix: showMatrix, workloads: showWorkloads, workload: showWorkload, ports: showPorts, findings: showFindings, review: showReview };

function route(first) {
  const { parts } = readAddress();
  const name = Object.hasOwn(VIEWS, parts[0]) ? parts[0] : "overview";
  for (const view of Object.keys(VIEWS)) section(view).hidden = view !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name || (name === "workload" && link.dataset.view === "workloads")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (VIEWS[name]) VIEWS[name](parts);
  if (first) return;
  scrollTo(0, 0);
  // A screen reader goes on from the new view's heading.
  document.getElementById("h-" + name).focus({ preventScroll: true });
}

const workloads = PARTIES.filter((p) => p.ns !== undefined).length;
const navCounts = { workloads, ports: DATA.ports.length, findings: DATA.findings.filter((f) => f[1] !== "info" && !f[6]).length };
for (const [name, count] of Object.entries(navCounts)) {
  document.querySelector('nav a[data-view="' + name + '"]').append(el("span", { class: "count" }, number(count)));
}
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); document.getElementById("main").focus(); });
addEventListener("hashchange", () => route(false));
// What is folded up on the screen is wanted on paper.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
setUpSearch();
route(true);
