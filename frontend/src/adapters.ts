/** The Adapters tab: candidates that wait for a person's approval, beside what scans use now. */

import { type Adapter, type Figure, postApproval } from "./api";
import { reviewerName } from "./dialogs";
import { h } from "./dom";

const FIGURES: [string, "average_precision" | "recall" | "false_alarm_rate"][] = [
  ["Average precision", "average_precision"],
  ["Recall", "recall"],
  ["False-alarm rate", "false_alarm_rate"],
];

export interface AdapterActions {
  /** Wait for the server; null where it refused or could not be reached, which is shown already. */
  guarded<T>(work: Promise<T>): Promise<T | null>;
  approved(name: string): void;
}

export function adaptersView(adapters: Adapter[], actions: AdapterActions): HTMLElement {
  if (adapters.length === 0) {
    return h("section", { class: "empty" }, h("h1", {}, "No adapters yet"), h("p", {}, "Candidates come when a training has passed its evaluation."));
  }
  const events = [...new Set(adapters.map((adapter) => adapter.event))].sort();
  return h("div", { class: "adapters" }, ...events.map((event) => eventSection(event, adapters.filter((one) => one.event === event), actions)));
}

function eventSection(event: string, adapters: Adapter[], actions: AdapterActions): HTMLElement {
  const promoted = adapters.find((adapter) => adapter.state === "promoted") ?? null;
  const candidates = adapters.filter((adapter) => adapter !== promoted);
  return h(
    "section",
    { "aria-label": event },
    h("h1", {}, event.replaceAll(/[_-]/g, " ")),
    h("p", { class: "muted" }, promoted ? `Scans use ${promoted.name}.` : "No adapter is promoted yet: nothing is scanned for it."),
    ...candidates.map((candidate) => candidateCard(candidate, promoted, actions)),
    candidates.length === 0 && h("p", { class: "muted" }, "No candidate waits."),
  );
}

function candidateCard(candidate: Adapter, promoted: Adapter | null, actions: AdapterActions): HTMLElement {
  return h(
    "article",
    { class: "candidate", "aria-label": candidate.name },
    h("h2", {}, candidate.name, h("small", { class: candidate.state }, stateOf(candidate))),
    h("p", {}, `The gate: ${candidate.verdict}.`),
    figuresTable(candidate, promoted),
    candidate.state === "waiting" && approvalForm(candidate, actions),
    candidate.approval && h("p", {}, `Approved by ${candidate.approval.by} (${new Date(candidate.approval.at).toLocaleString()}): ${candidate.approval.reason}`),
  );
}

function stateOf(adapter: Adapter): string {
  if (adapter.state === "waiting") return "waits for approval";
  if (adapter.state === "promote") return "✓ approved, promoted by the next run";
  return "✕ kept back";
}

/** Figures of the candidate beside those of the promoted one. */
function figuresTable(candidate: Adapter, promoted: Adapter | null): HTMLElement {
  const columns = promoted ? [candidate, promoted] : [candidate];
  return h(
    "table",
    {},
    h("caption", {}, "Each on the test clips of its own training, with its interval"),
    h("thead", {}, h("tr", {}, h("td", {}), ...columns.map((one) => h("th", { scope: "col" }, one.name)))),
    h("tbody", {}, ...FIGURES.map(([label, name]) => h("tr", {}, h("th", { scope: "row" }, label), ...columns.map((one) => h("td", {}, figureText(one[name])))))),
  );
}

function figureText(figure: Figure): string {
  if (figure.value === null) return "not measurable";
  const value = figure.value.toFixed(2);
  return figure.low === null || figure.high === null ? value : `${value} (${figure.low.toFixed(2)} to ${figure.high.toFixed(2)})`;
}

function approvalForm(candidate: Adapter, actions: AdapterActions): HTMLElement {
  const id = `reason-${candidate.name}`;
  const reason = h("input", { id, required: true, maxlength: 2000, autocomplete: "off" });
  const approve = h("button", { class: "primary" }, `Approve ${candidate.name}`);
  return h(
    "form",
    {
      submit: (event) => {
        event.preventDefault();
        approve.disabled = true;
        void actions.guarded(postApproval(candidate.name, reviewerName(), reason.value)).then((given) => {
          approve.disabled = false;
          if (given) actions.approved(candidate.name);
        });
      },
    },
    h("label", { for: id }, "Why, for the record"),
    reason,
    approve,
  );
}
