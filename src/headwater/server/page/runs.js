// The list of runs, which changes as they do.

import { follow, get } from "./api.js";
import { asText, clear, el, status, time } from "./dom.js";

const STATUSES = ["", "pending", "running", "held", "completed", "failed", "cancelled"];
const MOST = 200;

export async function showRuns(main, isLive) {
  const rows = new Map();
  const body = el("tbody");
  const empty = el("p", { class: "quiet" }, "No run yet. Start one: headwater run start MODULE:APP WORKFLOW");
  const more = el("button", { type: "button" }, "Older runs");
  const choice = el("select", { "aria-label": "Status" }, ...STATUSES.map((s) => el("option", { value: s }, s || "any status")));
  const workflow = el("input", { type: "search", placeholder: "workflow", "aria-label": "Workflow" });
  let next = null;

  function query(before) {
    const asked = new URLSearchParams({ limit: "50" });
    if (choice.value) asked.set("status", choice.value);
    if (workflow.value.trim()) asked.set("workflow", workflow.value.trim());
    if (before) asked.set("before", before);
    return `/runs?${asked}`;
  }

  function fits(run) {
    const wanted = workflow.value.trim();
    return (!choice.value || run.status === choice.value) && (!wanted || run.workflow === wanted);
  }

  function put(run, atTop) {
    const there = rows.get(run.run);
    if (!fits(run)) {
      there?.remove();
      rows.delete(run.run);
      return;
    }
    const said = run.error || asText(run.state);
    const row = el(
      "tr",
      {},
      el("td", {}, el("a", { href: `#/runs/${encodeURIComponent(run.run)}` }, run.run)),
      el("td", {}, `${run.workflow}@${run.workflow_version}`),
      el("td", {}, status(run.status)),
      el("td", { class: "said" }, said.slice(0, 200)),
      el("td", { class: "when" }, time(run.created_at)),
    );
    if (there) there.replaceWith(row);
    else if (atTop) body.prepend(row);
    else body.append(row);
    rows.set(run.run, row);
    if (atTop && rows.size > MOST) {
      const last = [...rows].find(([, one]) => one === body.lastElementChild);
      if (last) rows.delete(last[0]);
      body.lastElementChild.remove();
    }
    empty.hidden = rows.size > 0;
  }

  async function load(before) {
    const page = await get(query(before));
    if (!before) {
      rows.clear();
      clear(body);
    }
    for (const run of page.runs) put(run, false);
    next = page.next;
    more.hidden = !next;
    empty.hidden = rows.size > 0;
  }

  choice.addEventListener("change", () => load());
  workflow.addEventListener("change", () => load());
  more.addEventListener("click", () => load(next));
  const heads = ["Run", "Workflow", "Status", "State", "Created"].map((text) => el("th", { scope: "col" }, text));
  const stop = follow("/runs", (kind, run) => kind === "run" && put(run, true), isLive);
  await load();
  clear(
    main,
    el("div", { class: "bar" }, el("h1", {}, "Runs"), choice, workflow),
    el("table", { class: "runs" }, el("thead", {}, el("tr", {}, ...heads)), body),
    empty,
    more,
  );
  return stop;
}
