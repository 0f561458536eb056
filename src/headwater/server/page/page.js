// Which view is shown, by the part of the address after `#`.

import { clear, el } from "./dom.js";
import { showRun } from "./run.js";
import { showRuns } from "./runs.js";

const main = document.getElementById("main");
const live = document.getElementById("live");
let leave = () => {};

function isLive(yes) {
  live.textContent = yes ? "live" : "reconnecting";
  live.className = yes ? "live on" : "live";
}

async function show() {
  leave();
  const [kind, id] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  try {
    leave = kind === "runs" && id ? await showRun(main, id, isLive) : await showRuns(main, isLive);
  } catch (error) {
    leave = () => {};
    clear(main, el("p", { class: "wrong", role: "alert" }, error.message), el("a", { href: "#/" }, "All runs"));
  }
}

const theme = localStorage.getItem("headwater-theme");
if (theme) document.documentElement.dataset.theme = theme;
document.getElementById("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).getPropertyValue("--dark").trim() === "1";
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("headwater-theme", document.documentElement.dataset.theme);
});

addEventListener("hashchange", show);
show();
