// One run: what it is, its calls on an axis of time, and its events as they come.

import { follow, get } from "./api.js";
import { asText, clear, el, status, time, took } from "./dom.js";

export async function showRun(main, id, isLive) {
  const path = `/runs/${encodeURIComponent(id)}`;
  const facts = el("dl", { class: "facts" });
  const lines = el("div", { class: "lines", role: "list", "aria-label": "Timeline" });
  const events = el("tbody");
  const heads = ["", "Time", "Event", "Payload"].map((text) => el("th", { scope: "col" }, text));
  let asked = false;
  let again = false;

  function fact(name, value) {
    return value === "" || value === null || value === undefined ? [] : [el("dt", {}, name), el("dd", {}, value)];
  }

  function draw(run, timeline) {
    clear(
      facts,
      ...fact("status", status(run.status)),
      ...fact("workflow", `${run.workflow}@${run.workflow_version}`),
      ...fact("state", asText(run.state)),
      ...fact("held", run.held && `${run.held.reason}: ${run.held.message}`),
      ...fact("created", time(run.created_at)),
      ...fact("ended", time(run.ended_at)),
      ...fact("worker", run.worker),
      ...fact("attributes", Object.entries(run.attributes).map(([k, v]) => `${k}=${v}`).join("  ")),
      ...fact("input", el("pre", {}, asText(run.input))),
      ...fact("output", run.output === null ? "" : el("pre", {}, asText(run.output))),
      ...fact("error", run.error && el("pre", {}, `${run.error.type}: ${run.error.message}`)),
    );
    const begin = Date.parse(run.created_at);
    const end = Math.max(run.ended_at ? Date.parse(run.ended_at) : Date.now(), begin + 1);
    const place = (at) => `${(Math.min(Math.max((Date.parse(at) - begin) / (end - begin), 0), 1) * 100).toFixed(2)}%`;
    clear(lines, ...timeline.map((line) => drawLine(line, place, end)));
  }

  function drawLine(line, place, end) {
    const last = line.ended_at ? Date.parse(line.ended_at) : line.kind === "mark" ? Date.parse(line.began_at) : end;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const from = parseFloat(place(line.began_at));
    const to = parseFloat(place(new Date(last).toISOString()));
    bar.setAttribute("x", `${from}%`);
    bar.setAttribute("width", `${Math.max(to - from, 0.4)}%`);
    bar.setAttribute("y", "25%");
    bar.setAttribute("height", "50%");
    bar.setAttribute("rx", "2");
    bar.setAttribute("class", `${line.kind} ${line.status.replace(/\W/g, "-")}`);
    svg.append(bar);
    const tries = line.attempts.length > 1 ? `  ${line.attempts.length} attempts` : "";
    return el(
      "div",
      { class: "line", role: "listitem" },
      el("span", { class: "what" }, `${line.kind} ${line.name}`),
      svg,
      el("span", { class: "how" }, line.kind === "mark" ? asText(line.moments[0]?.data ?? line.moments[0]?.text) : `${line.status}${tries}  ${took(last - Date.parse(line.began_at))}`),
    );
  }

  async function refresh() {
    if (asked) {
      again = true;
      return;
    }
    asked = true;
    do {
      again = false;
      const [run, { timeline }] = await Promise.all([get(path), get(`${path}/timeline`)]);
      draw(run, timeline);
      await new Promise((done) => setTimeout(done, 100));
    } while (again);
    asked = false;
  }

  function put(event) {
    events.append(
      el(
        "tr",
        {},
        el("td", { class: "number" }, String(event.version)),
        el("td", { class: "when" }, time(event.recorded_at)),
        el("td", {}, event.type),
        el("td", {}, el("pre", {}, asText(event.data ?? event.undecodable))),
      ),
    );
    refresh().catch(() => {});
  }

  const [run, { timeline }] = await Promise.all([get(path), get(`${path}/timeline`)]);
  draw(run, timeline);
  clear(
    main,
    el("p", {}, el("a", { href: "#/" }, "All runs")),
    el("h1", {}, id),
    facts,
    el("h2", {}, "Timeline"),
    lines,
    el("h2", {}, "Events"),
    el("table", { class: "events" }, el("thead", {}, el("tr", {}, ...heads)), events),
  );
  return follow(`${path}/events`, (kind, event) => kind === "event" && put(event), isLive);
}
