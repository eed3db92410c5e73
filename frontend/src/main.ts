/** The review page: one card at a time, answered by swipe, key or button. */

import "./style.css";
import { adaptersView } from "./adapters";
import { type Adapters, type Answer, type Card, fetchAdapters, fetchStats, idOf, isAdmitted, keyOf, Refused, type Said, type Stats } from "./api";
import { type CardView, cardView, type Draft } from "./card";
import { Deck } from "./deck";
import { helpDialog, loginDialog, reviewerName } from "./dialogs";
import { h, kbd } from "./dom";
import { watchSwipes } from "./gestures";
import { Outbox } from "./outbox";
import { neighbour, Player, type Stretch, stretchOf } from "./player";

const POLL_MS = 25_000; // also keeps our cards ours: a lease lasts a minute
const LOCK_MS = 350; // a held key or a double click answers one card only
const RATES = [0.5, 0.75, 1, 1.5, 2];

const client = (sessionStorage.client ??= crypto.getRandomValues(new Uint32Array(4)).join("-"));

let stats: Stats | null = null;
let adapters: Adapters | null = null;
let tab: "flags" | "adapters" = "flags";
let offline = false;
let lockedUntil = 0;
let shown: { card: Card; view: CardView; draft: Draft; editing: boolean; stretch: Stretch } | null = null;

const outbox = new Outbox({
  changed: (waiting, failing) => showOutbox(waiting, failing),
  confirmed: (answer, revision) => {
    deck.confirmed(answer, revision);
    void refresh();
  },
  refused: (answer, why) => {
    deck.refused(answer);
    say(`An answer was not taken: ${why}`);
  },
  loginNeeded: () => showLogin(),
});
const deck = new Deck(client, outbox, {
  changed: () => render(),
  busy: () => shown !== null && (shown.editing || shown.draft.transcript !== null || shown.draft.time !== null),
  lost: () => say("That card was answered elsewhere, or somebody else has it now"),
});
const player = new Player({
  state: (state, problem) => {
    playLabel.textContent = state === "playing" ? "Stop" : "Play";
    play.disabled = state === "loading" || state === "error";
    if (!shown) return;
    shown.view.problem.hidden = state !== "error";
    shown.view.problem.textContent = state === "error" ? `The audio cannot be played: ${problem}` : "";
  },
  moved: (time) => shown?.view.moved(time),
});

const progress = h("p", { class: "progress" });
const filter = h("select", { "aria-label": "Event", change: () => void guarded(deck.filter(filter.value || null)) });
const stage = h("main", {});
const flagsTab = h("button", { type: "button", "aria-pressed": "true", click: () => switchTo("flags") }, "Flags");
const adaptersTab = h("button", { type: "button", "aria-pressed": "false", click: () => switchTo("adapters") }, "Adapters");
const tabs = h("div", { class: "tabs", role: "group", "aria-label": "What to review", hidden: true }, flagsTab, adaptersTab);
const playLabel = h("span", {}, "Play");
const play = h("button", { type: "button", click: () => player.toggle() }, playLabel, kbd("Space"));
const loop = h("button", { type: "button", "aria-pressed": "false", click: () => toggleLoop() }, "Loop", kbd("L"));
const speed = h("select", { "aria-label": "Speed", change: () => (player.rate = Number(speed.value)) }, ...RATES.map((rate) => h("option", { value: rate, selected: rate === 1 }, `${rate}×`)));
const transport = h("div", { class: "transport", role: "group", "aria-label": "Playing" }, play, loop, speed);
const no = button("No", "no", "←", () => answer("rejected"));
const skip = button("Skip", "skip", "↓", () => skipCard());
const yes = button("Yes", "yes", "→", () => answer("accepted"));
const actions = h("nav", { class: "actions", "aria-label": "Your answer" }, no, skip, yes);
const undo = h("button", { type: "button", class: "quiet undo", disabled: true, click: () => void undoLast() }, "Undo");
const outboxChip = h("p", { class: "outbox", role: "status", hidden: true });
const status = h("p", { class: "status", role: "status" });
const help = helpDialog();
const loginBox = loginDialog(() => void start());

document.getElementById("app")?.append(
  h(
    "header",
    {},
    h("strong", { class: "name" }, "Review"),
    tabs,
    progress,
    filter,
    undo,
    h("button", { type: "button", class: "quiet", "aria-label": "Help and keys", click: () => help.showModal() }, "?"),
  ),
  stage,
  h("footer", {}, outboxChip, status),
  help,
  loginBox,
);

function button(label: string, kind: string, key: string, act: () => void): HTMLButtonElement {
  const mark = { no: "✕", skip: "↷", yes: "✓" }[kind] ?? "";
  return h(
    "button",
    { type: "button", class: kind, click: act },
    h("span", { class: "sign", "aria-hidden": "true" }, mark),
    label,
    kbd(key),
  );
}

function render(): void {
  const card = deck.current;
  undo.disabled = !deck.canUndo;
  if (tab === "adapters") return;
  if (!card) {
    player.clear();
    shown = null;
    stage.replaceChildren(emptyState());
    return;
  }
  if (shown && keyOf(shown.card) === keyOf(card)) return;
  showCard(card);
  for (const next of deck.upcoming.slice(0, 2)) player.fetch(next, stretchOf(next)).catch(() => {});
}

function showCard(card: Card): void {
  const draft: Draft = { transcript: null, time: null };
  const view = cardView(card, draft, {
    editing: (open) => {
      if (shown) shown.editing = open;
      player.movable = open;
    },
    drafted: (drafted) => {
      if (drafted.time !== null) player.time = drafted.time;
    },
    playhead: () => player.position,
    shift: (by) => {
      const there = shown && neighbour(card, shown.stretch, by);
      if (there && there.start !== shown?.stretch.start) showStretch(there);
    },
  });
  shown = { card, view, draft, editing: false, stretch: stretchOf(card) };
  player.movable = false;
  view.wave.after(transport);
  watchSwipes(view.element, {
    pulled: (share, px) => {
      view.element.style.transform = px ? `translateX(${px}px) rotate(${share * 3}deg)` : "";
      view.element.dataset.pull = share >= 1 ? "yes" : share <= -1 ? "no" : "";
    },
    swiped: (direction) => answer(direction === "right" ? "accepted" : "rejected"),
  });
  stage.replaceChildren(view.element, actions);
  view.element.focus({ preventScroll: true });
  showStretch(shown.stretch);
}

function showStretch(stretch: Stretch): void {
  if (!shown) return;
  shown.stretch = stretch;
  shown.view.stretched(stretch.start, stretch.end);
  void player.show(shown.view.wave, shown.card, stretch, shown.draft.time ?? shown.card.time);
}

function emptyState(): HTMLElement {
  if (offline) return h("section", { class: "empty" }, h("h1", {}, "No connection"), h("p", {}, "The server does not answer. Your answers are kept here and sent when it is back."));
  if (!deck.exhausted) return h("section", { class: "empty", "aria-busy": "true" }, h("p", {}, "Looking for cards…"));
  return h(
    "section",
    { class: "empty" },
    h("h1", {}, "Nothing to review"),
    h("p", {}, "New cards come when a scan flags a conversation. Scans run by themselves; ", h("code", {}, "event-detection scan"), " runs one now. This page looks again by itself."),
    Boolean(stats?.skipped) && h("button", { type: "button", class: "primary", click: () => void guarded(deck.unskip()) }, `Show the ${stats?.skipped} you skipped`),
  );
}

/** Whether an answer may be given now: not while the last one's key is still held. */
function unlocked(): boolean {
  const now = performance.now();
  if (now < lockedUntil || !shown) return false;
  lockedUntil = now + LOCK_MS;
  return true;
}

function answer(said: Said): void {
  if (!unlocked() || !shown) return;
  const { card, draft } = shown;
  const given: Answer = { ...idOf(card), answer: said, reviewer: reviewerName(), ...draft };
  say(`${said === "accepted" ? "Yes" : "No"}: ${card.event}`);
  deck.answer(given);
}

function skipCard(): void {
  if (!unlocked()) return;
  say("Skipped");
  void guarded(deck.skip()).then(refresh);
}

async function undoLast(): Promise<void> {
  if (tab !== "flags") return;
  const card = await guarded(deck.undo(reviewerName()));
  if (!card) return;
  say("Taken back");
  void refresh();
}

function toggleLoop(): void {
  player.loop = !player.loop;
  loop.setAttribute("aria-pressed", String(player.loop));
}

function changeRate(by: number): void {
  speed.selectedIndex = Math.max(0, Math.min(RATES.length - 1, speed.selectedIndex + by));
  player.rate = Number(speed.value);
}

function say(text: string): void {
  status.textContent = text;
}

function showOutbox(waiting: number, failing: boolean): void {
  outboxChip.hidden = !failing || waiting === 0;
  outboxChip.textContent = `${waiting} ${waiting === 1 ? "answer waits" : "answers wait"} to be saved; trying again`;
}

function showStats(): void {
  if (!stats) return;
  const today = stats.accepted + stats.rejected;
  progress.textContent = `${stats.waiting} waiting · ${today} today`;
  const events = Object.keys(stats.by_event).sort();
  filter.hidden = events.length < 2 && !filter.value;
  const chosen = filter.value;
  const names = [...new Set([...events, ...(chosen ? [chosen] : [])])];
  const options = names.map((name) => h("option", { value: name, selected: name === chosen }, `${name} (${stats?.by_event[name] ?? 0})`));
  filter.replaceChildren(h("option", { value: "" }, "All events"), ...options);
}

/** Show the tabs where adapters wait for approval at all, and how many do. */
function showTabs(): void {
  tabs.hidden = !adapters?.enabled;
  const waiting = adapters?.adapters.filter((adapter) => adapter.state === "waiting").length ?? 0;
  adaptersTab.textContent = waiting ? `Adapters (${waiting})` : "Adapters";
}

function switchTo(chosen: "flags" | "adapters"): void {
  tab = chosen;
  document.body.dataset.tab = tab;
  flagsTab.setAttribute("aria-pressed", String(tab === "flags"));
  adaptersTab.setAttribute("aria-pressed", String(tab === "adapters"));
  player.clear();
  shown = null;
  if (tab === "flags") render();
  else showAdapters();
}

function showAdapters(): void {
  const view = adaptersView(adapters?.adapters ?? [], {
    guarded,
    approved: (name) => {
      say(`${name} is approved`);
      void refreshAdapters().then(showAdapters);
    },
  });
  stage.replaceChildren(view);
}

async function refreshAdapters(): Promise<void> {
  adapters = (await guarded(fetchAdapters())) ?? adapters;
  showTabs();
}

function showLogin(): void {
  if (!loginBox.open) loginBox.showModal();
}

/** Wait for the server; a refusal or a lost connection is shown, not thrown. */
async function guarded<T>(work: Promise<T>): Promise<T | null> {
  try {
    const result = await work;
    offline = false;
    return result;
  } catch (error) {
    if (error instanceof Refused && error.status === 401) showLogin();
    else if (error instanceof Refused) say(error.message);
    else {
      offline = true;
      say("No connection to the server");
    }
    if (!deck.current) render();
    return null;
  }
}

async function refresh(): Promise<void> {
  stats = (await guarded(fetchStats(client))) ?? stats;
  showStats();
  await guarded(deck.fill());
}

async function start(): Promise<void> {
  if ((await guarded(isAdmitted())) === false) {
    showLogin();
    return;
  }
  await refresh();
  await refreshAdapters();
  void outbox.send();
}

const KEYS: Record<string, () => void> = {
  ArrowRight: () => answer("accepted"),
  ArrowLeft: () => answer("rejected"),
  ArrowDown: () => skipCard(),
  ArrowUp: () => shown?.view.edit(true),
  " ": () => player.toggle(),
  l: () => toggleLoop(),
  "<": () => changeRate(-1),
  ">": () => changeRate(1),
  "?": () => help.showModal(),
};

addEventListener("keydown", (event) => {
  const target = event.target as HTMLElement;
  const typing = target.closest("textarea, input");
  if (typing && shown?.editing && (event.key === "Escape" || (event.key === "Enter" && event.ctrlKey))) {
    event.preventDefault();
    shown.view.edit(false);
    return;
  }
  if (typing || target.closest("select, dialog, summary") || document.querySelector("dialog[open]")) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    if (!event.repeat) void undoLast();
    return;
  }
  const act = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  // Space on a button presses that button.
  if (!act || event.ctrlKey || event.metaKey || event.altKey || (event.key === " " && target.closest("button"))) return;
  event.preventDefault();
  if (!event.repeat) act();
});

render();
void start();
setInterval(() => {
  void refresh();
  void refreshAdapters();
}, POLL_MS);
if ("serviceWorker" in navigator) void navigator.serviceWorker.register("/sw.js").catch(() => {});
