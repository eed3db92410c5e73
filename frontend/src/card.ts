/** One card on the page: what was heard, when, the transcript with the place, and the form to correct them. */

import type { Card } from "./api";
import { clock, h, kbd } from "./dom";

/** What the person has corrected; null where the scan was right. */
export interface Draft {
  transcript: string | null;
  time: number | null;
}

export interface CardActions {
  editing(open: boolean): void;
  drafted(draft: Draft): void;
  playhead(): number;
  /** Show the minute before or after this one. */
  shift(by: -1 | 1): void;
}

export interface CardView {
  element: HTMLElement;
  wave: HTMLElement;
  problem: HTMLElement;
  edit(open: boolean): void;
  moved(time: number): void;
  /** Of a long conversation these seconds are shown. */
  stretched(start: number, end: number | null): void;
}

export function cardView(card: Card, draft: Draft, actions: CardActions): CardView {
  const wave = h("div", { class: "wave", role: "img", "aria-label": waveLabel(card) });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const text = h("div", { class: "transcript" });
  const showText = () => text.replaceChildren(...transcriptOf(card, draft));
  showText();
  const form = editForm(card, draft, actions, () => {
    showText();
    actions.drafted(draft);
  });
  const toggle = h("button", { type: "button", class: "quiet", click: () => view.edit(Boolean(form.element.hidden)) }, "Correct the text or place", kbd("↑"));
  const stretch = h("span", {});
  const stretching = h(
    "p",
    { class: "stretch", hidden: true },
    h("button", { type: "button", class: "quiet", click: () => actions.shift(-1) }, "Earlier"),
    stretch,
    h("button", { type: "button", class: "quiet", click: () => actions.shift(1) }, "Later"),
  );
  const element = h(
    "article",
    { class: "card", tabindex: -1, "aria-labelledby": "heard" },
    h("p", { class: "stamp", "aria-hidden": "true" }, h("span", {}, "yes"), h("span", {}, "no")),
    h("h1", { id: "heard" }, h("small", {}, "The scan heard "), `${card.event.replaceAll(/[_-]/g, " ")}?`),
    factsOf(card),
    wave,
    problem,
    stretching,
    text,
    toggle,
    form.element,
  );
  const view: CardView = {
    element,
    wave,
    problem,
    edit(open) {
      form.element.hidden = !open;
      toggle.setAttribute("aria-expanded", String(open));
      actions.editing(open);
      if (open) form.focus();
      else element.focus({ preventScroll: true });
    },
    moved(time) {
      form.moved(time);
    },
    stretched(start, end) {
      stretching.hidden = end === null;
      stretch.textContent = end === null ? "" : `${clock(start)} to ${clock(end)} is shown`;
    },
  };
  toggle.setAttribute("aria-expanded", "false");
  return view;
}

function waveLabel(card: Card): string {
  const place = card.time === null ? "" : `, the ${card.event} is marked at ${clock(card.time)}`;
  return `Waveform of ${clock(card.duration)}${place}`;
}

function factsOf(card: Card): HTMLElement {
  const recorded = card.recorded_at && new Date(card.recorded_at);
  const day = recorded && recorded.toLocaleString(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const place = card.time === null ? `${clock(card.duration)} long` : `at ${clock(card.time)} of ${clock(card.duration)}`;
  const facts = [
    card.title || null,
    day || null,
    place,
    card.score === null ? "not scored" : `score ${card.score.toFixed(2)}${card.threshold === null ? "" : `, flagged from ${card.threshold.toFixed(2)}`}`,
  ];
  return h("ul", { class: "facts" }, ...facts.filter((fact) => fact !== null).map((fact) => h("li", {}, fact)));
}

function transcriptOf(card: Card, draft: Draft): HTMLElement[] {
  const transcript = draft.transcript ?? card.transcript;
  const time = draft.time ?? card.time;
  if (draft.transcript !== null || time === null || card.words.length === 0) {
    return [h("p", {}, ...marked(transcript, card.tag)), ...(transcript ? [] : [h("p", { class: "muted" }, "No transcript")])];
  }
  const next = card.words.findIndex((word) => word.start >= time);
  const at = next < 0 ? card.words.length : next;
  const words = (from: number, to: number) => card.words.slice(from, to).map((word) => word.text).join(" ");
  const shown = [words(0, at), " ", h("mark", {}, `${card.event} here`), " ", words(at, card.words.length)];
  const whole = card.words.map((word) => word.text).join(" ").length + 40 < card.transcript.length;
  return [
    h("p", {}, whole ? "… " : "", ...shown, whole ? " …" : ""),
    ...(whole ? [h("details", {}, h("summary", {}, "Whole transcript"), h("p", {}, card.transcript))] : []),
  ];
}

/** The text with the event's tag made visible. */
function marked(text: string, tag: string): (Node | string)[] {
  return text.split(tag).flatMap((part, index) => (index ? [h("mark", {}, tag), part] : [part]));
}

function editForm(card: Card, draft: Draft, actions: CardActions, changed: () => void) {
  const area = h("textarea", { id: "edit-text", rows: 4, spellcheck: "false" });
  area.value = draft.transcript ?? card.transcript;
  const place = h("output", {}, placeOf(draft.time ?? card.time));
  const put = (start: number, end: number) => {
    const before = area.value.slice(0, start).trimEnd();
    const after = area.value.slice(end).trimStart();
    area.value = [before, card.tag, after].filter(Boolean).join(" ");
    area.setSelectionRange(before.length + card.tag.length + 1, before.length + card.tag.length + 1);
    area.focus();
    area.dispatchEvent(new Event("input"));
  };
  area.addEventListener("input", () => {
    draft.transcript = area.value === card.transcript ? null : area.value;
    changed();
  });
  const moved = (time: number) => {
    draft.time = Math.round(time * 100) / 100;
    place.value = placeOf(draft.time);
    changed();
  };
  const element = h(
    "form",
    { class: "edit", hidden: true, submit: (event) => event.preventDefault() },
    h("label", { for: "edit-text" }, "What was said"),
    area,
    h(
      "p",
      { class: "row" },
      h("button", { type: "button", click: () => put(area.selectionStart, area.selectionEnd) }, `Put ${card.tag} here`),
      h("button", { type: "button", click: () => moved(actions.playhead()) }, "It is at the playhead"),
      place,
    ),
    h("p", { class: "muted" }, "Click in the waveform where it is and press “It is at the playhead”; a place that is marked there can also be dragged. What you correct goes with your answer."),
  );
  return { element, moved, focus: () => area.focus() };
}

function placeOf(time: number | null): string {
  return time === null ? "place unknown" : `heard at ${clock(time)}.${Math.floor((time % 1) * 10)}`;
}
